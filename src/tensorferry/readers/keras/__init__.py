"""Keras models: whole files, architectures with weights, of Keras 1.2 to 3.

The way of a model: a file (`files`, `hdf5`) gives a config and weights; `parsing` makes a KerasModel (`description`) of the config,
of any release; `slots` gives each layer its weights; `walking` calls the layers one after the other and so makes a Graph. Who has a
config and weights from elsewhere calls `parse_model`, `check_known`, `assign_listed` (or `assign_filed`) and `build_graph`.

To add a layer, write a function in a module of `layers/` and register it under its class name:

    @layer("Dense", weights=kernel_and_bias, keeps_mask=True)
    def dense(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
        value = build.add("MatMul", (inputs[0], build.weight("kernel")))
        ...

- `weights` are the layer's roles in the order in which Keras makes them, or a function of the config that gives them; one that is
  not trained is a `Slot("moving_mean", trainable=False)`. A role of a part that Keras files keep in a folder of its own has its
  path: `cell/kernel`. `build.weight(role)` is it as a constant, `build.tensor(role)` the recipe; `build.has(role)` tells whether it
  is there.
- `config` has Keras 2 names whatever the release, and checks what it gives out: `config.integers("strides", 2, default=1)`.
- `inputs` are the tensors among the call's arguments; `build.args` and `build.kwargs` are the arguments as they were given
  (`mask`, `initial_state`, ...). `build.add(op, inputs, attrs)` adds an IR node under the layer's name; several outputs are
  returned in a list.
- A wrapper says which layers it holds: `children=lambda layer: {"layer": parse_layer(layer.config["layer"], ...)}`; each has
  weights of its own, and `build.run(build.layer.children["layer"], [value])` calls it.
- `build.mask(value)` and `build.set_mask(value, mask)`: masks that travel beside values; `keeps_mask` hands the first input's on.
- An operation of keras.ops is registered with `ops.` before its class: `@layer("ops.Add")`.
- Where an option cannot be had, `raise build.unsupported(why, remedy)`: an error that names the layer.
- Activations by name are one table: `activations.TABLE`.
"""

from tensorferry.readers.keras.description import KerasModel, Layer
from tensorferry.readers.keras.files import is_architecture, is_keras, read_keras, read_model
from tensorferry.readers.keras.parsing import parse_layer, parse_model
from tensorferry.readers.keras.slots import assign_filed, assign_listed, check_known
from tensorferry.readers.keras.walking import build_graph

__all__ = [
    "KerasModel",
    "Layer",
    "assign_filed",
    "assign_listed",
    "build_graph",
    "check_known",
    "is_architecture",
    "is_keras",
    "parse_layer",
    "parse_model",
    "read_keras",
    "read_model",
]
