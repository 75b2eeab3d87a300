"""Builds methods, networks and arguments from the names in a plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from typing import Any

from segmend.bench.plan import Labels
from segmend.bench.protocol import resolved
from segmend.commands.audit import audit
from segmend.commands.corrupt import corrupt
from segmend.commands.train import train
from segmend.core.config import rebuilt
from segmend.core.errors import InputError, did_you_mean
from segmend.data.augment import Augmentation
from segmend.engine.learner import Optimisation
from segmend.engine.recipes import with_recipe
from segmend.methods import Method, all_methods
from segmend.networks import Network, PlannedUNet, all_networks
from segmend.noise import MixedNoise, Recipe, all_recipes, recipes_of


def train_arguments(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Arguments of ``train`` as its function takes them.

    Args:
        given: as the plan has them.
        where: the part of the plan, for the error.

    Raises:
        InputError: there is no such network, or an argument of a part is not known.
    """
    arguments = _with_recipe(given, where)
    named = network_of(given, where)
    arguments["network"] = partial(named[0], **named[1]) if named else None
    for part, cls in (("augmentation", Augmentation), ("optimisation", Optimisation)):
        if part in arguments:
            try:
                arguments[part] = cls(**arguments[part])
            except TypeError as error:
                known = ", ".join(each.name for each in fields(cls))
                raise InputError(
                    f"{where}, {part}", str(error), f"choose from {known}", code="invalid-value"
                ) from error
    return arguments


def _with_recipe(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Arguments of ``train`` as if a plan stated what its recipe sets, which then has the same fingerprint."""
    try:
        return with_recipe(given)
    except InputError as error:
        raise error.but(where=f"{where}, recipe") from error


def network_of(given: Mapping[str, Any], where: str) -> tuple[type[Network], dict[str, Any]] | None:
    """The network that arguments of ``train`` name and its own arguments; None if it is to be planned.

    Raises:
        InputError: there is no such network.
    """
    network = _with_recipe(given, where).get("network")
    if network is None:
        return None
    if not isinstance(network, (str, dict)):
        raise InputError(
            where, f"network is {network!r}", "give a name, or a mapping with name and arguments", code="invalid-value"
        )
    arguments = {"name": network} if isinstance(network, str) else dict(network)
    name, known = str(arguments.pop("name", "VNet")), all_networks()
    if name not in known:
        raise InputError(where, f"there is no network '{name}'", did_you_mean(name, known), code="unknown-name")
    return known[name], arguments


def method_of(name: str, arguments: Mapping[str, Any]) -> Callable[[Network], Method]:
    """Return a factory that makes a method from a network."""
    return partial(all_methods()[name], **arguments)


def whole_training(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Arguments of ``train`` as a plan could have them, with the defaults of all that it leaves out.

    Raises:
        InputError: there is no such network.
    """
    stated = _with_recipe(given, where)
    return _with_network(resolved(train, stated, {*_WITHOUT_EFFECT, "method", "network", "seed"}), stated, where)


def whole_audit(labels: Labels) -> dict[str, Any]:
    """The same for ``audit``.

    Raises:
        InputError: there is no such network or method.
    """
    assert labels.audit is not None
    stated = _with_recipe(labels.audit, labels.name)
    arguments = resolved(audit, stated, {*_WITHOUT_EFFECT, "method", "network"})
    return _with_network({**arguments, "method": auditing_method(labels).__name__}, stated, labels.name)


def whole_corruption(labels: Labels) -> dict[str, Any]:
    """The same for ``corrupt``."""
    assert labels.corruption
    made = corruption_of(labels)["recipe"]
    arguments = resolved(corrupt, labels.corruption, _WITHOUT_EFFECT)
    return {**arguments, "recipe": type(made).__name__, "arguments": _whole_recipe(made)}


def whole(command: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The same for another command."""
    return {**_FORMER_DEFAULTS.get(command.__name__, {}), **resolved(command, given, _WITHOUT_EFFECT)}


_FORMER_DEFAULTS: Mapping[str, Mapping[str, Any]] = {"predict": {"largest_component": False}}
"""What a command now decides by itself, and in bench always as before: fingerprints of recorded tables hold it."""


_WITHOUT_EFFECT = {
    *("data", "out", "run", "images", "predictions", "references", "audit", "decisions", "cases", "cache"),
    *("checkpoint", "probabilities", "uncertainty", "soft", "against", "batch", "precision"),
    *("preview", "confirmed_expert"),  # the latter without decisions
    *("devices", "nodes", "workers", "compile"),
}
"""Arguments of commands that only set paths, additional outputs or devices."""


def _with_network(arguments: dict[str, Any], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    named = network_of(given, where)
    if named is None:
        return {**arguments, "network": "planned"}
    network, of_network = named
    whole_network = resolved(network, of_network, ("in_channels", "classes", "dimensions"))
    return {**arguments, "network": {"name": network.__name__, **whole_network}}


def network_class(given: Mapping[str, Any], where: str) -> type[Network]:
    """The class of the network that arguments of ``train`` name, or of the one that is planned.

    Raises:
        InputError: there is no such network.
    """
    named = network_of(given, where)
    return named[0] if named else PlannedUNet


def _whole_recipe(recipe: Recipe) -> dict[str, Any]:
    arguments = resolved(type(recipe), recipe.arguments)
    if isinstance(recipe, MixedNoise):
        arguments["recipes"] = [{type(each).__name__: _whole_recipe(each)} for each in recipe.recipes]
    return arguments


def corruption_of(labels: Labels) -> dict[str, Any]:
    """Arguments of ``corrupt`` as its function takes them.

    Raises:
        InputError: the recipe does not take its arguments.
    """
    assert labels.corruption
    arguments = dict(labels.corruption)
    recipe = {"class_path": arguments.pop("recipe"), "init_args": arguments.pop("arguments", {})}
    # The abstract class only bounds what is looked up, which mypy forbids.
    built = rebuilt(recipe, all_recipes(), Recipe, where=f"labels {labels.name}")  # type: ignore[type-abstract]
    return {"recipe": built, **arguments}


def recipes_in(labels: Labels) -> tuple[type[Recipe], ...]:
    """The noise recipes that a state of the labels is made by."""
    if not labels.corruption:
        return ()
    return recipes_of(all_recipes()[labels.corruption["recipe"]], labels.corruption.get("arguments", {}))


def audit_arguments(labels: Labels) -> dict[str, Any]:
    """Arguments of ``audit`` as its function takes them.

    Raises:
        InputError: there is no such network or method, or an argument of a part is not known.
    """
    assert labels.audit is not None
    arguments = train_arguments(labels.audit, f"labels {labels.name}, audit")
    return {**arguments, "method": auditing_method(labels)}


def auditing_method(labels: Labels) -> type[Method]:
    """The method that models of an audit are trained by.

    Raises:
        InputError: there is no such method.
    """
    assert labels.audit is not None
    name, known = str(labels.audit.get("method", "Supervised")), all_methods()
    if name not in known:
        raise InputError(
            f"labels {labels.name}, audit",
            f"there is no method '{name}'",
            did_you_mean(name, known),
            code="unknown-name",
        )
    return known[name]
