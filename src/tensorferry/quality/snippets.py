"""Code that feeds a file and reads its results, in the languages of those who ship it: with its own names, types and scales."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tensorferry.quality.records import Feed

LIMITS = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}


def snippets(file: str, feeds: Sequence[Feed]) -> dict[str, str]:
    """Language -> code for the first input and output."""
    given = next((feed for feed in feeds if feed.role == "input"), None)
    result = next((feed for feed in feeds if feed.role == "output"), None)
    if given is None or result is None:
        return {}
    return {
        "Python": _python(file, given, result),
        "Kotlin (Android)": _kotlin(file, given, result),
        "Swift (iOS)": _swift(file, given, result),
        "JavaScript (LiteRT.js)": _javascript(file, given, result),
    }


def _python(file: str, given: Feed, result: Feed) -> str:
    lines = [
        "import numpy as np",
        "from ai_edge_litert.interpreter import Interpreter",
        "",
        f"runner = Interpreter({_text(file)}).get_signature_runner()",
        f"real = np.zeros({_sizes(given)}, np.float32)  # your input",
    ]
    if given.scale is None:
        lines.append("stored = real" if given.dtype == "float32" else f"stored = real.astype(np.{given.dtype})")
    else:
        low, high = LIMITS[given.dtype]
        code = f"np.rint(real / {_number(given.scale)}) + {_signed(given.zero_point)}"
        lines.append(f"stored = np.clip({code}, {low}, {high}).astype(np.{given.dtype})")
    lines.append(f"result = runner(**{{{_text(given.name)}: stored}})[{_text(result.name)}]")
    if result.scale is not None:
        lines.append(f"result = (result.astype(np.float32) - {_signed(result.zero_point)}) * {_number(result.scale)}")
    return "\n".join(lines)


def _kotlin(file: str, given: Feed, result: Feed) -> str:
    place = ".order(ByteOrder.nativeOrder())"
    lines = [
        f"// implementation: com.google.ai.edge.litert; {file} in assets",
        f"val interpreter = Interpreter(FileUtil.loadMappedFile(context, {_text(file)}))",
        f"val input = ByteBuffer.allocateDirect(interpreter.getInputTensor(0).numBytes()){place}  // {given.name}",
        f"val output = ByteBuffer.allocateDirect(interpreter.getOutputTensor(0).numBytes()){place}  // {result.name}",
    ]
    if given.scale is None:
        lines.append(f"for (real in values) input.{_put(given.dtype)}(real)")
    else:
        low, high = LIMITS[given.dtype]
        kind = "Short" if given.dtype == "int16" else "Byte"
        code = f"(real / {_number(given.scale)}f).roundToInt() + {_signed(given.zero_point)}"
        lines.append(f"for (real in values) input.{_put(given.dtype)}(({code}).coerceIn({low}, {high}).to{kind}())")
    lines.append("interpreter.run(input.rewind(), output)")
    if result.scale is None:
        lines.append("output.rewind()")
        lines.append("val real = output.asFloatBuffer()")
    else:
        read = {
            "int8": "output.get(i).toInt()",
            "uint8": "(output.get(i).toInt() and 0xff)",
            "int16": "output.getShort(2 * i).toInt()",
        }
        real = f"({read[result.dtype]} - {_signed(result.zero_point)}) * {_number(result.scale)}f"
        lines.append(f"val real = FloatArray(count) {{ i -> {real} }}")
    return "\n".join(lines)


def _put(dtype: str) -> str:
    return {"float32": "putFloat", "int16": "putShort", "int32": "putInt", "int64": "putLong"}.get(dtype, "put")


_SWIFT = {"float32": "Float32", "int8": "Int8", "uint8": "UInt8", "int16": "Int16", "int32": "Int32", "int64": "Int64"}


def _swift(file: str, given: Feed, result: Feed) -> str:
    stem = file.removesuffix(".tflite")
    kinds = [_SWIFT.get(feed.dtype, "UInt8") for feed in (given, result)]
    lines = [
        "import TensorFlowLite",
        "",
        f'let path = Bundle.main.path(forResource: {_text(stem)}, ofType: "tflite")!',
        "let interpreter = try Interpreter(modelPath: path)",
        "try interpreter.allocateTensors()",
    ]
    if given.scale is None:
        lines.append(f"let stored: [{kinds[0]}] = values  // {given.name}")
    else:
        low, high = LIMITS[given.dtype]
        code = f"($0 / {_number(given.scale)}).rounded() + {_signed(given.zero_point)}"
        lines.append(f"let stored = values.map {{ {kinds[0]}(min(max({code}, {low}), {high})) }}  // {given.name}")
    lines += [
        "try interpreter.copy(stored.withUnsafeBytes { Data($0) }, toInputAt: 0)",
        "try interpreter.invoke()",
        f"let bytes = try interpreter.output(at: 0).data  // {result.name}",
        f"let codes = bytes.withUnsafeBytes {{ Array($0.bindMemory(to: {kinds[1]}.self)) }}",
    ]
    if result.scale is not None:
        lines.append(f"let real = codes.map {{ (Float($0) - {_signed(result.zero_point)}) * {_number(result.scale)} }}")
    return "\n".join(lines)


_ARRAYS = {"float32": "Float32Array", "int8": "Int8Array", "uint8": "Uint8Array", "int16": "Int16Array", "int32": "Int32Array"}


def _javascript(file: str, given: Feed, result: Feed) -> str:
    array = _ARRAYS.get(given.dtype, "Uint8Array")
    lines = [
        "import {loadAndCompile, loadLiteRt, Tensor} from '@litertjs/core';",
        "",
        "await loadLiteRt('wasm/');",
        f"const model = await loadAndCompile({_text(file)}, {{accelerator: 'wasm'}});",
    ]
    if given.scale is None:
        lines.append(f"const stored = {array}.from(values);  // {given.name}")
    else:
        low, high = LIMITS[given.dtype]
        code = f"Math.round(real / {_number(given.scale)}) + {_signed(given.zero_point)}"
        lines.append(f"const stored = {array}.from(values, (real) => Math.min(Math.max({code}, {low}), {high}));  // {given.name}")
    lines.append(f"const [output] = await model.run(new Tensor(stored, {_sizes(given, brackets='[]')}));  // {result.name}")
    lines.append("const codes = await output.data();")
    if result.scale is not None:
        lines.append(
            f"const real = Float32Array.from(codes, (code) => (code - {_signed(result.zero_point)}) * {_number(result.scale)});"
        )
    return "\n".join(lines)


def _text(text: str) -> str:
    """A string literal that all four languages read alike."""
    return json.dumps(text).replace("$", "\\u0024")


def _number(scale: float) -> str:
    return f"{scale:.9g}"


def _signed(number: int | None) -> str:
    return f"({number})" if (number or 0) < 0 else str(number or 0)


def _sizes(feed: Feed, brackets: str = "()") -> str:
    """Open sizes are 1 here."""
    sizes = [str(max(1, size)) for size in feed.shape]
    return brackets[0] + ", ".join(sizes) + ("," if len(sizes) == 1 and brackets == "()" else "") + brackets[1]
