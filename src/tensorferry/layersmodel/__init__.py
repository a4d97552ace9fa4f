"""A Keras model as a TensorFlow.js layers-model: layers that tfjs-layers has, or a list of those that it cannot express.

`translation` walks the KerasModel that a reader left in `Graph.facts.tree` and asks `rules` for each layer; `names` settles what
every layer is called, `document` writes the topology and the weights.
"""
