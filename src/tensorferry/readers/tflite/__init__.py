"""TensorFlow Lite files: tables to records, records to a Graph, and what each builtin operator means in TensorFlow's ops."""
