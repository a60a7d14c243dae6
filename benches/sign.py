"""Signs deliveries beforehand: first the bodies, one a line, then `id timestamp signature body-number`, one a line."""

import base64
import hashlib
import hmac
import json
import sys
import time

secret, count = base64.b64decode(sys.argv[1].removeprefix("whsec_")), int(sys.argv[2])
BODIES = 200
fixture = open("fixtures/clerk/04-oauth-only.http", encoding="utf-8").read().split("\n\n", 1)[1]
bodies = []
for number in range(BODIES):
    event = json.loads(fixture)
    event["data"]["id"] = f"user_bench{number:06}"
    event["data"]["updated_at"] += number
    bodies.append(json.dumps(event, separators=(",", ":"), ensure_ascii=False))
print(BODIES)
print("\n".join(bodies))
now = int(time.time())
for number in range(count):
    body = bodies[number % BODIES]
    message = f"msg_bench{number:08}"
    mac = hmac.new(secret, f"{message}.{now}.{body}".encode(), hashlib.sha256).digest()
    print(message, now, "v1," + base64.b64encode(mac).decode(), number % BODIES + 1)
