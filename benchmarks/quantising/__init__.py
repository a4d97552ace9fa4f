"""Quantised files side by side: TensorFlow's converter, ai-edge-quantizer and Tensorferry, on real models and photographs."""
