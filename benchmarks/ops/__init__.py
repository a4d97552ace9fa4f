"""The bench of small graphs: TensorFlow's own converters against Tensorferry, op by op. `python -m ops --help` in benchmarks."""
