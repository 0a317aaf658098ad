"""For whoever watches over processes."""

from api import schemas
from api.call import Call, Reply


async def alive(call: Call[None, None]) -> Reply:
    """This process answers; nothing else was asked."""
    return Reply(200, schemas.Health(ok=True, checks={}))


async def ready(call: Call[None, None]) -> Reply:
    found = await call.needs.readiness.look()
    ok = all(one.ok for one in found)
    checks = {one.name: schemas.Check(ok=one.ok, says=one.says) for one in found}
    return Reply(200 if ok else 503, schemas.Health(ok=ok, checks=checks))
