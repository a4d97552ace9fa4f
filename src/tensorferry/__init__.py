"""Tensorferry: TensorFlow models to TensorFlow Lite and TensorFlow.js, without TensorFlow."""
