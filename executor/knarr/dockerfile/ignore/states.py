"""Ignore patterns as states that a walk hands down from directory to directory.

A pattern is split into its path components, and a state knows which component of which pattern comes next.
In most directories no pattern has begun to match, so that all of them share one state: to judge a name there
is a look-up in its tables, whatever the number of patterns.

Only the last pattern that decided matters to what is below: the patterns before it can't change anything any
more, since a match on a directory counts for what is in it.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from knarr.dockerfile.ignore.wildcards import CharacterClass, Token, Wild, match_tokens, matches_one

_MOST_STARS_IN_REGEX = 2
_MOST_NAMES = 4096

Tokens = tuple[Token, ...]
_Hit = tuple[int, int, int]
"""What one name does: a place that it matches, or a simulation behind it with its states and those inside."""


@dataclass(frozen=True, slots=True)
class _Place:
    """One component of a pattern."""

    pattern: int
    """The index of the pattern."""
    tokens: Tokens
    """Without a slash, `**/` or `**`."""
    is_deep: bool
    """Whether any number of directories may come before it."""
    is_last: bool


class IgnoreState:
    """What the patterns say of one path, and may say of what is below it."""

    __slots__ = (
        "_children",
        "_machine",
        "_names",
        "_places",
        "_simulated",
        "_table",
        "excluded",
        "is_settled",
    )

    def __init__(
        self,
        machine: "_Machine",
        places: tuple[int, ...],
        simulated: tuple[_Hit, ...],
        *,
        excluded: bool,
        is_settled: bool,
    ) -> None:
        """`places` come next, by their numbers; `simulated` are the patterns that are not split."""
        self._machine = machine
        self._places = places
        self._simulated = simulated
        self._table: _NameTable | None = None
        self._names: dict[str, IgnoreState] = {}
        """Names that were asked for, as a walk asks for each twice."""
        self._children: dict[tuple[_Hit, ...], IgnoreState] = {}
        self.excluded = excluded
        """Whether the path is left out, by itself or with a directory above it."""
        self.is_settled = is_settled
        """Whether all that is below shares this."""

    def into(self, name: str) -> "IgnoreState":
        """The state of what has this name in this directory."""
        if self.is_settled:
            return self
        child = self._names.get(name)
        if child is None:
            if len(self._names) >= _MOST_NAMES:
                self._names.clear()
            child = self._names[name] = self._judge(name)
        return child

    def below(self, path: str) -> "IgnoreState":
        """The state of a path below this directory, components joined by "/"."""
        state = self
        for name in path.split("/"):
            state = state.into(name)
        return state

    def _judge(self, name: str) -> "IgnoreState":
        table = self._table
        if table is None:
            table = self._table = _NameTable(self._machine.places, self._places)
        hits = table.hits(name)
        if self._simulated:
            hits += self._machine.simulate(self._simulated, name)
        child = self._children.get(hits)
        if child is None:
            child = self._children[hits] = self._machine.follow(
                self._places, hits, was_excluded=self.excluded
            )
        return child


def first_state(patterns: Sequence[tuple[Tokens, bool]]) -> IgnoreState:
    """The state of the root, for patterns in their order: tokens, and whether it takes back (`!`)."""
    return _Machine(patterns).start()


class _Machine:
    """The patterns that the states of one walk share, and those states."""

    def __init__(self, patterns: Sequence[tuple[Tokens, bool]]) -> None:
        self.places: list[_Place] = []
        self._includes = [includes for _, includes in patterns]
        self._firsts: list[int] = []
        self._simulations: dict[int, _Simulation] = {}
        self._states: dict[tuple[bool, tuple[int, ...], tuple[_Hit, ...]], IgnoreState] = {}
        for number, (tokens, _) in enumerate(patterns):
            components = _components(tokens)
            if components is None:
                self._simulations[number] = _Simulation(tokens)
                continue
            self._firsts.append(len(self.places))
            last = len(components) - 1
            self.places += [
                _Place(number, glob, is_deep, index == last)
                for index, (glob, is_deep) in enumerate(components)
            ]

    def start(self) -> IgnoreState:
        simulated = [(number, *simulation.start) for number, simulation in self._simulations.items()]
        return self._state(self._firsts, simulated, excluded=False)

    def simulate(self, simulated: Iterable[_Hit], name: str) -> tuple[_Hit, ...]:
        """The simulations behind a name, as hits, with numbers below zero."""
        return tuple(
            (~number, *self._simulations[number].read(name, states, inside))
            for number, states, inside in simulated
        )

    def follow(self, places: Iterable[int], hits: Iterable[_Hit], *, was_excluded: bool) -> IgnoreState:
        """The state behind the hits of a name."""
        nexts = {place for place in places if self.places[place].is_deep}
        matched: set[int] = set()
        simulated: list[_Hit] = []
        for place, states, inside in hits:
            if place < 0:
                simulation = self._simulations[~place]
                if simulation.accepts(states, inside):
                    matched.add(~place)
                simulated.append((~place, *simulation.read("/", states, inside)))
            elif self.places[place].is_last:
                matched.add(self.places[place].pattern)
            else:
                nexts.add(place + 1)
        excluded, decided = was_excluded, -1
        for number in sorted(matched):
            # A pattern that would change nothing is not asked; as in moby, it is not passed down either.
            if self._includes[number] == excluded:
                excluded, decided = not excluded, number
        return self._state(
            [place for place in sorted(nexts) if self.places[place].pattern > decided],
            [each for each in simulated if each[0] > decided and (each[1] or each[2])],
            excluded=excluded,
        )

    def _state(self, places: Sequence[int], simulated: Sequence[_Hit], *, excluded: bool) -> IgnoreState:
        patterns = {self.places[place].pattern for place in places} | {each[0] for each in simulated}
        is_settled = all(self._includes[number] != excluded for number in patterns)
        key = (excluded, () if is_settled else tuple(places), () if is_settled else tuple(simulated))
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = IgnoreState(
                self, key[1], key[2], excluded=excluded, is_settled=is_settled
            )
        return state


def _components(tokens: Tokens) -> list[tuple[Tokens, bool]] | None:
    """The components of a pattern, each with whether it is deep; None where it can't be split at its slashes.

    That is where `**` stands within a component, or a class of characters has the slash in it.
    """
    found: list[tuple[Tokens, bool]] = []
    glob: list[Token] = []
    is_deep = False
    for token in tokens:
        if token == "/":
            found.append((tuple(glob), is_deep))
            glob, is_deep = [], False
        elif token in (Wild.DEEP, Wild.REST):
            if glob:
                return None
            is_deep = True
            glob = [Wild.MANY] if token is Wild.REST else []
        elif isinstance(token, CharacterClass) and token.matches("/"):
            return None
        else:
            glob.append(token)
    return [*found, (tuple(glob), is_deep)]


class _NameTable:
    """The places that a name may match, sorted by how that is found out."""

    def __init__(self, places: Sequence[_Place], numbers: Sequence[int]) -> None:
        self._always = tuple((number, 0, 0) for number in numbers if places[number].tokens == (Wild.MANY,))
        self._ends: list[tuple[str, _Hit]] = []
        self._starts: list[tuple[str, _Hit]] = []
        self._others: list[tuple[Callable[[str], object], _Hit]] = []
        exact: dict[str, list[_Hit]] = {}
        for number in numbers:
            tokens, hit = places[number].tokens, (number, 0, 0)
            literals = [token for token in tokens if isinstance(token, str)]
            text = "".join(literals)
            if len(literals) == len(tokens):
                exact.setdefault(text, list(self._always)).append(hit)
            elif len(literals) == len(tokens) - 1 and tokens[0] is Wild.MANY:
                if text:
                    self._ends.append((text, hit))
            elif len(literals) == len(tokens) - 1 and tokens[-1] is Wild.MANY:
                self._starts.append((text, hit))
            else:
                self._others.append((_name_matcher(tokens), hit))
        self._exact = {name: tuple(hits) for name, hits in exact.items()}
        self._all_ends = tuple(text for text, _ in self._ends)
        self._all_starts = tuple(text for text, _ in self._starts)

    def hits(self, name: str) -> tuple[_Hit, ...]:
        """The places that a name matches."""
        hits = self._exact.get(name, self._always)
        if self._all_ends and name.endswith(self._all_ends):
            hits += tuple(hit for text, hit in self._ends if name.endswith(text))
        if self._all_starts and name.startswith(self._all_starts):
            hits += tuple(hit for text, hit in self._starts if name.startswith(text))
        for matches, hit in self._others:
            if matches(name):
                hits += (hit,)
        return hits


def _name_matcher(tokens: Tokens) -> Callable[[str], object]:
    """A regular expression, where it can't take long, is the faster way."""
    if tokens.count(Wild.MANY) > _MOST_STARS_IN_REGEX:
        return partial(match_tokens, tokens)
    return re.compile("".join(map(_regex, tokens)), re.DOTALL).fullmatch


def _regex(token: Token) -> str:
    if isinstance(token, str):
        return re.escape(token)
    if isinstance(token, CharacterClass):
        inside = "".join(f"{re.escape(low)}-{re.escape(high)}" for low, high in token.ranges if low <= high)
        if not inside:
            return "." if token.negated else "(?!)"
        return f"[{'^' if token.negated else ''}{inside}]"
    return {Wild.ONE: ".", Wild.MANY: ".*"}[token]


class _Simulation:
    """A pattern as a set of positions, one bit a token; text is read once, left to right.

    `inside` are the `**` that have begun to match something: a `**/` goes on only from a slash.
    """

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._stays = self._deep = self._skips = 0
        for number, token in enumerate(tokens):
            bit = 1 << number
            if token in (Wild.DEEP, Wild.REST):
                self._deep |= bit
            elif token is Wild.MANY:
                self._stays |= bit
            if isinstance(token, Wild) and token is not Wild.ONE:
                self._skips |= bit
        self._steps: dict[str, int] = {}
        self.start = (self._close(1), 0)

    def read(self, text: str, states: int, inside: int) -> tuple[int, int]:
        """Where the pattern is behind this text."""
        for character in text:
            inside |= states & self._deep
            stepped = (states & self._step(character)) << 1
            if character != "/":
                stepped |= states & self._stays
            else:
                stepped |= inside << 1
            states = self._close(stepped)
        return states, inside

    def accepts(self, states: int, inside: int) -> bool:
        """Whether all that was read matches."""
        accepted = 1 << len(self._tokens)
        if self._tokens[-1] is Wild.REST and (states | inside) & accepted >> 1:
            return True
        return bool(states & accepted)

    def _step(self, character: str) -> int:
        """The tokens that this one character satisfies."""
        step = self._steps.get(character)
        if step is None:
            step = 0
            for number, token in enumerate(self._tokens):
                if matches_one(token, character):
                    step |= 1 << number
            self._steps[character] = step
        return step

    def _close(self, states: int) -> int:
        """With the stars that may match nothing skipped."""
        while (more := states | (states & self._skips) << 1) != states:
            states = more
        return states
