"""Writers: Graph to bytes. Each is a generic loop without knowledge of single ops; all of them write through `atomic`."""
