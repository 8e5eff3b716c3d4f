"""What a config key or a key of `method_kwargs` declares: default, type, bounds, help; the check.

Error texts, `--help` and the pages docs/config.md and docs/methods.md are made of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args, get_origin

from solo_registry.errors import UserError, nearest

LIMIT = 2**31 - 1  # the size of every number that has no narrower bound
LONGEST = 80  # characters of a value in an error text
# bounds that many keys share
SHARE: dict[str, Any] = {"least": 0, "most": 1}
TAU: dict[str, Any] = {"least": 1e-4, "most": 100}  # a temperature that divides cosines
WIDTH: dict[str, Any] = {"above": 0, "most": 2**14}  # of a layer
COUNT: dict[str, Any] = {"above": 0, "most": 2**20}  # of rows in memory, or of iterations
TYPES: dict[Any, str] = {
    bool: "true or false",
    int: "integer",
    float: "number",
    str: "text",
    list: "list",
    dict: "keys",
    Any: "any",
}


def spell(value: Any) -> str:
    """Write a value as YAML does.

    >>> spell(None), spell(True), spell([1, 2]), spell({"a": 1e-4})
    ('null', 'true', '[1, 2]', '{a: 0.0001}')
    """
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {spell(item)}' for key, item in value.items())}}}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(spell, value))}]"
    return str(value)


def shown(value: Any) -> str:
    """Write a value for an error text: text in quotes, at most `LONGEST` characters.

    >>> shown("5"), shown(5), shown(10**5000), len(shown("x" * 1000))
    ("'5'", '5', 'a number of too many digits', 80)
    """
    try:
        text = repr(value) if isinstance(value, str) else spell(value)
    except ValueError:  # Python writes at most 4,300 digits
        return "a number of too many digits"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


@dataclass(frozen=True)
class Declared:
    """What is said of one key. A number is always finite and at most `LIMIT` in size.

    Attributes:
        default: the value of a run that does not give the key.
        help: one line in plain English; of a config key it starts with "Ours" where solo-learn has
            no such key or section.
        kind: the type of a value, such as `float`, `list[int]` or `Any`; None is the
            default's. A `float` may be given as an int.
        above: the number that the value must exceed; of a list, that each item must exceed.
        least: the smallest number allowed.
        below: the number that the value must not reach.
        most: the largest number allowed.
        choices: the only values; empty where any value of the type will do.
        null: whether null is a value too; always so where it is the default.
        also: numbers outside of the bounds that are allowed, and what they mean.
        derived: whether `resolve` or the data set the key, and nobody else.

    >>> share = Declared(0.5, "Share of hidden patches.", above=0, below=1)
    >>> share.allowed, share.type_name
    ('in (0, 1)', 'number')
    >>> share.check("method_kwargs.mask_ratio", 1)
    Traceback (most recent call last):
        ...
    solo_registry.errors.UserError: method_kwargs.mask_ratio must be in (0, 1), got 1
    """

    default: Any
    help: str = ""
    kind: Any = None
    above: float | None = None
    least: float | None = None
    below: float | None = None
    most: float | None = None
    choices: tuple[Any, ...] = ()
    null: bool = False
    also: Mapping[float, str] = field(default_factory=dict)
    derived: bool = False

    @property
    def value_type(self) -> Any:
        """Type of a value; None where nothing is known of it."""
        return type(self.default) if self.kind is None and self.default is not None else self.kind

    @property
    def takes_null(self) -> bool:
        """Whether null is a value."""
        return self.null or self.default is None

    @property
    def whole(self) -> bool:
        """Whether its numbers are integers."""
        return int in (self.value_type, *get_args(self.value_type))

    @property
    def type_name(self) -> str:
        """The type as pages print it, such as "integer or null"."""
        if self.value_type is None:
            return "any"
        return _words(self.value_type) + (" or null" if self.takes_null else "")

    @property
    def allowed(self) -> str:
        """Which values of the type are allowed, in words; "" where the type says it all."""
        return "derived" if self.derived else ", ".join(self.options()) or self._range()

    def options(self) -> list[str]:
        """Write the choices, null among them where it is one; none where any value is allowed."""
        null = ["null"] if self.choices and self.takes_null else []
        return [*map(spell, self.choices), *null]

    def check(self, name: str, value: Any) -> None:
        """Refuse a value of another type, none of the choices, or a number outside of the bounds.

        Args:
            name: how the error names the key, such as "method_kwargs.temperature".
            value: as given.

        Raises:
            UserError: naming the key, the value and what is allowed.
        """
        if value is None and self.takes_null:
            return
        if self.choices and value not in self.choices:
            hint = nearest(str(value), self.options())
            allowed = ", ".join(self.options())
            raise UserError(f"{name} is {shown(value)}.{hint} Allowed: {allowed}")
        if self.value_type is not None and not _fits(value, self.value_type):
            raise UserError(f"{name} must be of type {self.type_name}, got {shown(value)}")
        for number in value if isinstance(value, Sequence) else (value,):
            numeric = isinstance(number, int | float) and not isinstance(number, bool)
            if numeric and not self.choices and not self._admits(number):
                raise UserError(f"{name} must be {self._bounds(number)}, got {shown(number)}")

    def _admits(self, number: float) -> bool:
        """Whether a number is within the bounds; NaN is not."""
        low = -LIMIT if self.least is None else self.least
        high = LIMIT if self.most is None else self.most
        return number in self.also or (
            low <= number <= high
            and (self.above is None or number > self.above)
            and (self.below is None or number < self.below)
        )

    def _range(self) -> str:
        """Write the bounds.

        >>> Declared(0.0, least=0, below=1).allowed, Declared(0.0, above=0).allowed
        ('in [0, 1)', 'above 0')
        >>> Declared(1, least=1).allowed, Declared(1, above=0, most=9).allowed
        ('at least 1', 'from 1 to 9')
        >>> Declared(-1.0, above=0, most=1, also={-1: "all"}).allowed
        'in (0, 1], or -1 (all)'
        """
        above, low, below, high = self.above, self.least, self.below, self.most
        if self.whole:  # an integer above 0 is at least 1
            above, low = None, low if above is None else above + 1
            below, high = None, high if below is None else below - 1
        left = f"above {above}" if above is not None else "0 or more" if low == 0 else ""
        right = f"at most {high}" if below is None else f"below {below}"
        if (above, low, below, high) == (None,) * 4:
            return ""
        if (high, below) == (None, None):
            text = left or f"at least {low}"
        elif (low, above) == (None, None):
            text = right
        elif self.whole:
            text = f"from {low} to {high}"
        else:
            brackets = ("[" if above is None else "(", "]" if below is None else ")")
            ends = f"{low if above is None else above}, {high if below is None else below}"
            text = f"in {brackets[0]}{ends}{brackets[1]}"
        return text + "".join(f", or {value} ({means})" for value, means in self.also.items())

    def _bounds(self, number: float) -> str:
        """Write the bounds for a number that is outside, with `LIMIT` where that is why."""
        bounds = [self._range()]
        if self.most is None and self.below is None:
            if number == number and LIMIT < abs(number) < math.inf:
                bounds.append(f"at most {LIMIT} in size")
            elif not self.whole:
                bounds.append("finite")
        return " and ".join(filter(None, bounds))


def _words(kind: Any) -> str:
    """Write a type.

    >>> _words(float), _words(list[int])
    ('number', 'integer list')
    """
    if get_origin(kind) is list:
        return f"{_words(get_args(kind)[0])} list"
    return TYPES.get(get_origin(kind) or kind, "section")


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value has a type; OmegaConf's lists and sections are lists and dicts."""
    origin = get_origin(kind) or kind
    if origin is Any:
        return True
    if origin is list:
        return isinstance(value, Sequence) and not isinstance(value, str) and all(
            _fits(item, inner) for inner in get_args(kind) for item in value
        )  # fmt: skip
    if origin is dict:
        return isinstance(value, Mapping)
    if isinstance(value, bool):
        return origin is bool
    return isinstance(value, (int, float) if origin is float else origin)
