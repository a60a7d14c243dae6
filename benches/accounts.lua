-- Calls of an application for users that are known: which one, the environment says.
local people, token, call = {}, os.getenv("TOKEN"), os.getenv("CALL")
for line in io.lines(os.getenv("PEOPLE")) do
    local id, provider_id = line:match("^(%S+) (%S+)$")
    people[#people + 1] = { id = id, provider_id = provider_id }
end
local headers = { ["Authorization"] = "Bearer " .. token }
local threads = {}

function setup(thread)
    threads[#threads + 1] = thread
end

function init()
    other = 0
    math.randomseed(7)
end

local function one()
    return people[math.random(#people)]
end

function request()
    if call == "ensure" then
        local body = '{"source":"clerk","provider_id":"' .. one().provider_id .. '"}'
        return wrk.format("POST", "/v1/users/ensure", headers, body)
    elseif call == "one" then
        return wrk.format("GET", "/v1/users/" .. one().id, headers)
    end
    local ids = {}
    for n = 1, 500 do
        ids[n] = one().id
    end
    return wrk.format("GET", "/v1/users?ids=" .. table.concat(ids, ","), headers)
end

function response(status)
    if status ~= 200 then
        other = other + 1
    end
end

function done()
    local sum = 0
    for _, thread in ipairs(threads) do
        sum = sum + thread:get("other")
    end
    print("other " .. sum)
end
