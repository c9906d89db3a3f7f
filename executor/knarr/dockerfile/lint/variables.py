"""The check on variables used before they are defined.

An image that was not looked at may define any variable. Below such a one only those are reported of which
the file itself says that they are a mistake: declared further down, declared before the first FROM and not
again in the stage, or a misspelt name that the file declares.
"""

from collections.abc import Collection, Iterator

from knarr.dockerfile.language.instructions import Arg, Env, Instruction
from knarr.dockerfile.language.parser import Dockerfile
from knarr.dockerfile.lint.text import Hit
from knarr.dockerfile.lint.walk import StageView, Step
from knarr.dockerfile.syntax.suggest import nearest

_NEVER_SET = frozenset({"BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"})
_OF_ANY_IMAGE = frozenset({"PATH"})


def undefined_variables(dockerfile: Dockerfile, view: StageView) -> Iterator[Hit]:
    """One hit for each word that uses such a variable."""
    declared = {item.key for arg in dockerfile.global_args for item in arg.declarations}
    for number, step in enumerate(view.steps):
        later = view.steps[number + 1 :] if step.missing and not view.knows_env else ()
        for name in step.missing:
            if name in _NEVER_SET:
                continue
            if not view.knows_env and not _is_mistake(name, step, later, declared):
                continue
            near = nearest(name, step.scope.variables)
            hint = f" (did you mean ${near}?)" if near else ""
            yield Hit(step.instruction, f"Usage of undefined variable '${name}'{hint}")


def _is_mistake(name: str, step: Step, later: Collection[Step], declared: Collection[str]) -> bool:
    if name in declared or any(name in _names(other.instruction) for other in later):
        return True
    return nearest(name, step.scope.variables.keys() - _OF_ANY_IMAGE) is not None


def _names(instruction: Instruction) -> Collection[str]:
    if isinstance(instruction, Arg):
        return {declaration.key for declaration in instruction.declarations}
    return {pair.key for pair in instruction.pairs} if isinstance(instruction, Env) else set()
