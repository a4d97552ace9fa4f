import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as official

from tensorferry.errors import GraphError
from tensorferry.wire import tflite_schema
from tensorferry.wire.flatbuffer import Reserved, TableBuilder, fill, fill_reference, parse_schema

SCHEMA = tflite_schema.schema()
KINDS = {
    "bool": "Bool",
    "int8": "Int8",
    "uint8": "Uint8",
    "int32": "Int32",
    "uint32": "Uint32",
    "int64": "Int64",
    "uint64": "Uint64",
    "float": "Float32",
}
SIZES = {"bool": 1, "int8": 1, "uint8": 1, "uint16": 2, "int32": 4, "uint32": 4, "int64": 8, "uint64": 8, "float": 4}


def camel(name):
    return "".join(part[0].upper() + part[1:] for part in name.split("_"))


def recorded(function, *arguments):
    """The one call that an official function makes on its builder."""
    calls = []

    class Builder:
        def __getattr__(self, name):
            return lambda *given: calls.append((name, *given))

    getattr(official, function)(Builder(), *arguments)
    return calls[0]


# -- the table of facts against the official, generated code -------------------------------------------------------


def test_there_are_all_operators_and_tables():
    assert len(tflite_schema.operators()) >= 200
    assert len(SCHEMA.tables) >= 160


@pytest.mark.parametrize("name", sorted(SCHEMA.enums))
def test_enum(name):
    members = {key: value for key, value in vars(getattr(official, name)).items() if not key.startswith("_")}
    assert SCHEMA.enums[name].members.items() <= members.items()


@pytest.mark.parametrize("name", sorted(SCHEMA.unions))
def test_union(name):
    members = {key: value for key, value in vars(getattr(official, name)).items() if not key.startswith("_")}
    assert dict(zip(SCHEMA.unions[name], range(1000), strict=False)).items() <= members.items()
    assert all(member in SCHEMA.tables for member in SCHEMA.unions[name][1:])


@pytest.mark.parametrize("table", sorted(SCHEMA.tables))
def test_table(table):
    name, count = recorded(f"{table}Start")
    assert name == "StartObject"
    assert SCHEMA.slots[table] <= count
    for field in SCHEMA.tables[table]:
        slot = field.slot
        if field.type in SCHEMA.unions:
            assert recorded(f"{table}Add{camel(field.name)}Type", 0)[:2] == ("PrependUint8Slot", slot)
            slot += 1
        call = recorded(f"{table}Add{camel(field.name)}", 0)
        scalar = SCHEMA.scalar(field.type)
        if scalar is None or field.vector:
            assert call[:2] == ("PrependUOffsetTRelativeSlot", slot)
        else:
            assert call == (f"Prepend{KINDS[scalar]}Slot", slot, 0, field.default)
        if field.vector:
            size = 4 if scalar is None else SIZES[scalar]
            assert recorded(f"{table}Start{camel(field.name)}Vector", 1) == ("StartVector", size, 1, size)
        if scalar is None and field.type != "string":
            assert field.type in SCHEMA.tables or field.type in SCHEMA.unions


@pytest.mark.parametrize("name", sorted(tflite_schema.operators()))
def test_operator(name):
    operator = tflite_schema.operator(name)
    assert operator.number == getattr(official.BuiltinOperator, name)
    if operator.options:
        assert tflite_schema.options_field(operator.options) in ("builtin_options", "builtin_options2")


def test_operators_of_the_official_converter_have_our_options():
    """Operator names and the tables the official converter gives them, where the name does not say."""
    assert tflite_schema.operator("AVERAGE_POOL_2D").options == "Pool2DOptions"
    assert tflite_schema.operator("MEAN").options == "ReducerOptions"
    assert tflite_schema.operator("CONV_3D_TRANSPOSE").options == "Conv3DOptions"
    assert tflite_schema.operator("RELU").options == ""


def test_oldest_runtime_is_the_newest_of_what_the_operators_need():
    assert tflite_schema.oldest_runtime([("CONV_2D", 1), ("GELU", 1), ("ADD", 1)]) == "2.9.0"
    assert tflite_schema.oldest_runtime([("CONV_2D", 1), ("TILE", 1)]) == "1.10.1"
    assert tflite_schema.oldest_runtime([("ADD", 1)], "2.14.0") == "2.14.0"
    assert tflite_schema.oldest_runtime([]) == ""


@pytest.mark.parametrize(("name", "version"), [("ADD", 99), ("ADD", 0), ("BROADCAST_TO", 1)])
def test_a_version_that_no_runtime_knows_is_an_error(name, version):
    with pytest.raises(GraphError, match=f"version {version} of {name}"):
        tflite_schema.oldest_runtime([(name, version)])


def test_an_unknown_operator_is_an_error():
    with pytest.raises(GraphError, match="NO_SUCH"):
        tflite_schema.operator("NO_SUCH")


# -- building ------------------------------------------------------------------------------------------------------


def build(table, values):
    builder = TableBuilder(SCHEMA)
    return bytes(builder.finish(builder.build(table, values), b"TFL3"))


def test_every_kind_of_field_is_read_back_by_the_official_code():
    data = build(
        "Model",
        {
            "version": 3,
            "description": "ünïcode",
            "operator_codes": [{"builtin_code": 3, "version": 2}, {}],
            "subgraphs": [
                {
                    "tensors": [
                        {
                            "shape": [1, 2],
                            "type": "INT8",
                            "quantization": {"scale": [0.5, 0.25], "zero_point": [1, -(2**40)], "quantized_dimension": 1},
                            "shape_signature": [],
                            "has_rank": True,
                        }
                    ],
                    "operators": [
                        {"inputs": [0, -1], "builtin_options": ("Conv2DOptions", {"padding": "VALID", "dilation_w_factor": 7})},
                        {"builtin_options2": ("DilateOptions", {})},
                    ],
                }
            ],
            "buffers": [{}, {"data": b"abc"}, {"offset": 2**40, "size": 5}],
            "metadata_buffer": None,
        },
    )
    model = official.ModelT.InitFromPackedBuf(data, 0)
    assert official.Model.ModelBufferHasIdentifier(data, 0)
    assert len(data) % 16 == 0
    assert (model.version, model.description.decode()) == (3, "ünïcode")
    assert [(code.builtinCode, code.version) for code in model.operatorCodes] == [(3, 2), (0, 1)]
    tensor = model.subgraphs[0].tensors[0]
    assert (list(tensor.shape), tensor.type, tensor.hasRank) == ([1, 2], official.TensorType.INT8, True)
    assert list(tensor.quantization.scale) == [0.5, 0.25]
    assert list(tensor.quantization.zeroPoint) == [1, -(2**40)]
    assert tensor.quantization.quantizedDimension == 1
    first, second = model.subgraphs[0].operators
    assert list(first.inputs) == [0, -1]
    assert isinstance(first.builtinOptions, official.Conv2DOptionsT)
    options = first.builtinOptions
    assert (options.padding, options.dilationWFactor, options.dilationHFactor) == (official.Padding.VALID, 7, 1)
    assert isinstance(second.builtinOptions2, official.DilateOptionsT)
    assert bytes(model.buffers[1].data) == b"abc"
    assert (model.buffers[2].offset, model.buffers[2].size) == (2**40, 5)
    assert model.metadataBuffer is None


def test_a_default_that_is_not_zero_can_be_overridden():
    data = build("AddOptions", {"pot_scale_int16": False, "fused_activation_function": "RELU6"})
    options = official.AddOptions.GetRootAs(data, 0)
    assert (options.PotScaleInt16(), options.FusedActivationFunction()) == (False, official.ActivationFunctionType.RELU6)
    assert official.AddOptions.GetRootAs(build("AddOptions", {}), 0).PotScaleInt16() is True


def test_the_same_values_give_the_same_bytes_in_any_order():
    values = {"padding": "VALID", "stride_w": 2, "stride_h": 3}
    assert build("Conv2DOptions", values) == build("Conv2DOptions", dict(reversed(values.items())))


@pytest.mark.parametrize(
    ("table", "values", "words"),
    [
        ("Conv2DOptions", {"paddding": "VALID"}, "paddding"),
        ("Conv2DOptions", {"padding": "FULL"}, "'FULL' is no Padding"),
        ("ReshapeOptions", {"new_shape": ["SAME"]}, "'SAME' is no int32"),
    ],
)
def test_what_the_schema_does_not_know_is_an_error(table, values, words):
    with pytest.raises(GraphError, match=words):
        build(table, values)


def test_reserved_fields_are_filled_in_afterwards():
    builder = TableBuilder(SCHEMA)
    data, offset, size = Reserved(4), Reserved(8), Reserved(8)
    buffers = [{}, {"data": data}, {"offset": offset, "size": size}]
    tables = builder.finish(builder.build("Model", {"version": 3, "buffers": buffers}), b"TFL3")
    content = np.arange(50, dtype=np.uint8).tobytes()
    fill_reference(tables, data, len(tables))
    fill(tables, offset, 2**33)
    fill(tables, size, 12345678901)
    model = official.ModelT.InitFromPackedBuf(bytes(tables) + len(content).to_bytes(4, "little") + content, 0)
    assert bytes(model.buffers[1].data) == content
    assert (model.buffers[2].offset, model.buffers[2].size) == (2**33, 12345678901)


def test_a_schema_in_our_form():
    lines = [
        line.split()
        for line in ("enum Colour int8 RED GREEN", "union Any NONE Leaf", "table Leaf x:Colour=GREEN - y:int32[] z:Any w:int32=4")
    ]
    schema = parse_schema(lines)
    assert schema.enums["Colour"].members == {"RED": 0, "GREEN": 1}
    assert [(field.name, field.slot, field.type, field.vector, field.default) for field in schema.tables["Leaf"]] == [
        ("x", 0, "Colour", False, 1),
        ("y", 2, "int32", True, 0),
        ("z", 3, "Any", False, 0),
        ("w", 5, "int32", False, 4),
    ]
    assert schema.slots["Leaf"] == 6
