-- Sends what benches/sign.py has signed, once each, and counts the answers.
local bodies, lines = {}, {}
local sent = 0
local threads = {}

function setup(thread)
    thread:set("file", os.getenv("REQUESTS"))
    table.insert(threads, thread)
end

function init()
    accepted, other = 0, 0
    local input = io.open(file)
    for _ = 1, tonumber(input:read("*l")) do
        table.insert(bodies, input:read("*l"))
    end
    for line in input:lines() do
        table.insert(lines, line)
    end
    input:close()
end

function request()
    sent = sent + 1
    local id, timestamp, signature, body = lines[sent]:match("^(%S+) (%S+) (%S+) (%S+)$")
    return wrk.format("POST", nil, {
        ["Content-Type"] = "application/json",
        ["svix-id"] = id,
        ["svix-timestamp"] = timestamp,
        ["svix-signature"] = signature,
    }, bodies[tonumber(body)])
end

function response(status)
    if status == 202 then accepted = accepted + 1 else other = other + 1 end
end

function done()
    local all, rest = 0, 0
    for _, thread in ipairs(threads) do
        all = all + thread:get("accepted")
        rest = rest + thread:get("other")
    end
    io.write("accepted ", all, "\nother ", rest, "\n")
end
