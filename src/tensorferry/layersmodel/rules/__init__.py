"""One function for each class of Keras layers."""
