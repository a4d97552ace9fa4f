"""Which tensor of a file is which weight of which layer.

Keras files hold weights in one of two orders. HDF5 files of whole models, and TensorFlow.js, keep a list for each layer of the
outermost model: all that are trained, then the others, through whatever lies inside of it (`assign_listed`). Keras 3's own form
keeps a folder for each layer, numbered within it (`assign_filed`). Both are checked against the names or shapes they come with.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tensorferry.errors import SourceError
from tensorferry.readers.keras import registry
from tensorferry.readers.keras.ancient import join_gates
from tensorferry.readers.keras.description import EXPORT, KerasModel, Layer, snake_case
from tensorferry.readers.keras.registry import Slot
from tensorferry.tensor import Tensor

Named = tuple[str, Tensor]

_ROLES = frozenset(
    (
        *("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance"),
        *("depthwise_kernel", "pointwise_kernel", "recurrent_kernel", "embeddings", "alpha"),
    )
)
"""Last parts of names that say for certain which weight is meant."""


_PYTHON_NAMES = {"Model": "Functional", "GroupQueryAttention": "GroupedQueryAttention"}
"""Classes that bear another name in Keras' own code, after which it names folders."""


@dataclass(frozen=True, slots=True)
class Place:
    """A weight's place: the layer that owns it, its role there, whether it is trained, its folder and name in Keras 3's form."""

    owner: Layer
    role: str
    trainable: bool
    folder: str
    name: str
    slot: Slot


def check_known(model: KerasModel) -> None:
    """SourceError for layers of classes that are not known: all of them in one message."""
    unknown = [(path, layer) for path, layer in model.everything() if layer.model is None and not _is_known(layer)]
    lambdas = [path for path, layer in unknown if layer.class_name == "Lambda"]
    if lambdas:
        raise SourceError(
            f"Python code is what these Lambda layers consist of: {_listed(lambdas)}",
            why="a file's code is never run",
            remedy=EXPORT,
        )
    if unknown:
        kinds = _listed(sorted({_shown(layer) for _path, layer in unknown}))
        where = _listed([f"'{path}' ({_shown(layer)})" for path, layer in unknown])
        raise SourceError(f"layers of these classes are not known: {kinds}", where=where, remedy=EXPORT)


def _shown(layer: Layer) -> str:
    return layer.kind if layer.kind.startswith("tf.") else layer.class_name


def _is_known(layer: Layer) -> bool:
    return layer.class_name == "InputLayer" or registry.find(layer.kind) is not None


def _listed(names: Sequence[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def places(layer: Layer, folder: str) -> Iterator[Place]:
    """All weights in a layer, in the order in which Keras makes them."""
    if layer.model is not None:
        yield from places_of_model(layer.model, folder)
        return
    rule = registry.find(layer.kind)
    if rule is not None and rule.fill is not None:
        return
    numbers: dict[str, int] = {}
    slots = rule.slots(layer.config) if rule is not None else []
    for slot in sorted(slots, key=lambda slot: not slot.trainable):
        inner, _, role = slot.path.rpartition("/")
        number = numbers.get(inner, 0)
        numbers[inner] = number + (slot.filed and not slot.named)
        name = role if slot.named else str(number)
        yield Place(layer, slot.path, slot.trainable and layer.trainable, f"{folder}/{inner}" if inner else folder, name, slot)
    for role, child in layer.children.items():
        yield from places(child, f"{folder}/{role}")


def places_of_model(model: KerasModel, folder: str) -> Iterator[Place]:
    """All weights of a network; its layers are numbered by class in Keras 3's form."""
    for path, layer in _folders(model, folder):
        yield from places(layer, path)


def _folders(model: KerasModel, folder: str) -> Iterator[tuple[str, Layer]]:
    """Each layer of a network with its folder."""
    counts: dict[str, int] = {}
    start = f"{folder}/" if folder else ""
    for layer in model.layers:
        if layer.kind.startswith("ops."):
            continue
        name = snake_case(_PYTHON_NAMES.get(layer.class_name, layer.class_name))
        count = counts.get(name, 0)
        counts[name] = count + 1
        yield f"{start}layers/{name}_{count}" if count else f"{start}layers/{name}", layer


def assign_assets(model: KerasModel, assets: Mapping[str, Mapping[str, bytes]], folder: str = "") -> None:
    """Give each layer the files that lie in its folder."""
    for path, layer in _folders(model, folder):
        layer.assets = assets.get(path, {})
        if layer.model is not None:
            assign_assets(layer.model, assets, path)


def assign_listed(model: KerasModel, groups: Mapping[str, Sequence[Named]]) -> None:
    """Give each layer its weights from a list for each of the model's own layers, by the layer's name."""
    known = {layer.name for layer in _listed_layers(model)}
    lost = [name for name, found in groups.items() if found and name not in known]
    if lost:
        raise SourceError(f"the file holds weights of layers that the model does not have: {_listed(lost)}")
    for layer in _listed_layers(model):
        rule = registry.find(layer.kind)
        if rule is not None and rule.fill is not None:
            rule.fill(layer, {_last_name(name): tensor for name, tensor in groups.get(layer.name, ())}, None)
            continue
        wanted = [place for place in places(layer, "") if place.slot.listed]
        wanted = [place for place in wanted if place.trainable] + [place for place in wanted if not place.trainable]
        found = groups.get(layer.name, ())
        if len(found) != len(wanted):
            raise _wrong_count(layer.name, len(found), [place.role for place in wanted])
        for place, (name, tensor) in zip(wanted, found, strict=True):
            _check_role(layer.name, place.role, name)
            place.owner.weights[place.role] = tensor
    for _path, layer in model.everything():
        join_gates(layer)


def _listed_layers(model: KerasModel) -> Iterator[Layer]:
    """The layers that a file lists: the model's own, and those of models whose layers stand for themselves."""
    for layer in model.layers:
        if layer.model is not None and layer.name in model.apart:
            yield from _listed_layers(layer.model)
        else:
            yield layer


def assign_filed(model: KerasModel, folder: Callable[[str], Mapping[str, Tensor] | None]) -> None:
    """Give each layer its weights from Keras 3's folders: `folder` has the tensors of a path by name; None: there is none."""
    wanted: dict[str, list[Place]] = {}
    for place in places_of_model(model, ""):
        if place.slot.filed:
            wanted.setdefault(place.folder, []).append(place)
    for path, those in wanted.items():
        found = folder(path) or folder(_as_private(path))
        if found is None or set(found) != {place.name for place in those}:
            raise _wrong_count(path, 0 if found is None else len(found), [place.role for place in those])
        for place in those:
            place.owner.weights[place.role] = found[place.name]
    _fill_wrappers(model, "", folder)


def _fill_wrappers(model: KerasModel, top: str, folder: Callable[[str], Mapping[str, Tensor] | None]) -> None:
    """Let the layers that know the order of their weights themselves take them, those in nested models too."""
    for path, layer in _folders(model, top):
        rule = registry.find(layer.kind)
        if layer.model is not None:
            _fill_wrappers(layer.model, path, folder)
        elif rule is not None and rule.fill is not None:
            rule.fill(layer, folder(path) or {}, folder(f"{path}/layer") or {})


def _last_name(name: str) -> str:
    """`dense_1/kernel:0` -> `kernel`."""
    return re.sub(r":\d+$", "", name.rsplit("/", 1)[-1])


def _as_private(path: str) -> str:
    """The folder of a part that its layer keeps under a private name (`_query_dense`)."""
    outer, _, name = path.rpartition("/")
    return f"{outer}/_{name}"


def _wrong_count(layer: str, count: int, roles: Sequence[str]) -> SourceError:
    return SourceError(
        f"the weights in the file do not fit the layer '{layer}'",
        why=f"the file has {count}, the layer has {len(roles)}: {', '.join(roles[:12]) or 'none'}",
        remedy="give the weights that were saved with this architecture",
    )


def _check_role(layer: str, role: str, name: str) -> None:
    """The last part of a name may contradict the order; `kernel` stands for any."""
    said = re.sub(r"_\d+$", "", _last_name(name))
    wanted = role.rsplit("/", 1)[-1]
    same = said == wanted or (said == "kernel" and wanted.endswith("kernel"))
    if said in _ROLES and wanted in _ROLES and not same:
        raise SourceError(
            f"the weights in the file do not fit the layer '{layer}'", why=f"'{name}' stands where its {role} is expected"
        )
