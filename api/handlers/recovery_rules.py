"""Who may get back in by themselves."""

from api import render, schemas
from api.call import Call, Reply
from api.operations import recovery_rules as operations
from models.errors import Invalid
from models.organization import RecoveryFor, RecoverySettings
from models.recovery import Registrations


async def mine(call: Call[None, None]) -> Reply:
    return Reply(200, render.recovery_registration(await operations.mine(call.needs.database, call.person)))


async def show_rules(call: Call[None, None]) -> Reply:
    return _shown(*await operations.show(call.needs.database, call.person))


async def change_rules(call: Call[schemas.RecoveryRulesChanged, None]) -> Reply:
    given = call.body
    if given.gates > len(set(given.kinds)):
        raise Invalid(errors=[{"field": "kinds", "rule": "kinds_as_gates"}])
    rules = RecoverySettings(RecoveryFor(given.whom), given.gates, frozenset(given.kinds), given.unlock)
    return _shown(
        *await operations.change(call.needs.database, call.person, rules, matches=call.matches, actor=call.actor)
    )


async def let(call: Call[schemas.LetRecover, None]) -> Reply:
    await operations.let(call.needs.database, call.person, call.id("account_id"), may=call.body.may, actor=call.actor)
    return Reply(204)


async def allow_again(call: Call[schemas.Reason, None]) -> Reply:
    needs = call.needs
    await operations.allow_again(
        needs.database,
        needs.throttle_key,
        call.person,
        call.id("account_id"),
        reason=call.body.reason,
        actor=call.actor,
    )
    return Reply(204)


def _shown(rules: RecoverySettings, counted: Registrations) -> Reply:
    return Reply(200, render.recovery_rules(rules, counted), headers={"ETag": rules.mark})
