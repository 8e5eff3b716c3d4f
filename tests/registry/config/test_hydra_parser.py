"""Python 3.14's argparse refuses a help that is no text; Hydra gives such a one."""

from argparse import Action, ArgumentParser

import pytest

from solo_registry.config.hydra_parser import CHECK, objects_as_help


class Late:
    def __repr__(self) -> str:
        return "made late"


def test_an_object_is_no_longer_checked_and_a_text_is(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str | None] = []

    def check(parser: ArgumentParser, action: Action) -> None:
        if "%" in action.help:  # as Python 3.14 does
            seen.append(action.help)

    monkeypatch.setattr(ArgumentParser, CHECK, check, raising=False)
    parser = ArgumentParser()
    late = Action(["--late"], "late", help=Late())  # type: ignore[arg-type]
    text = Action(["--text"], "text", help="100 % right")
    with pytest.raises(TypeError):
        getattr(parser, CHECK)(late)
    with objects_as_help():
        getattr(parser, CHECK)(late)
        getattr(parser, CHECK)(text)
    assert seen == ["100 % right"]
    assert getattr(ArgumentParser, CHECK) is check  # afterwards as before


def test_nothing_is_added_where_argparse_has_no_such_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for kind in ArgumentParser.__mro__:
        if CHECK in vars(kind):
            monkeypatch.delattr(kind, CHECK)
    with objects_as_help():
        assert not hasattr(ArgumentParser, CHECK)


def test_hydras_own_parser_can_be_made() -> None:
    """On Python 3.14 this is the fault itself; before, it shows that Hydra still has the object."""
    from hydra._internal.utils import get_args_parser

    with objects_as_help():
        parser = get_args_parser()
    found = [action.help for action in parser._actions if not isinstance(action.help, str | None)]
    assert len(found) == 1, "Hydra has no such object any more: remove hydra_parser.py"
