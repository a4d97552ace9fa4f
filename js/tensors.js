// Tensors from bytes and back. A string tensor is, per element, a uint32 length and the bytes; all numbers are little-endian.

import * as tf from '@tensorflow/tfjs-core';

const ARRAYS = {float32: Float32Array, int32: Int32Array, bool: Uint8Array, complex64: Float32Array};

function decodeStrings(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const elements = [];
  for (let offset = 0; offset < bytes.length;) {
    const length = view.getUint32(offset, true);
    elements.push(bytes.slice(offset + 4, offset + 4 + length));
    offset += 4 + length;
  }
  return elements;
}

function encodeStrings(elements) {
  const bytes = new Uint8Array(elements.reduce((sum, element) => sum + 4 + element.length, 0));
  const view = new DataView(bytes.buffer);
  let offset = 0;
  for (const element of elements) {
    view.setUint32(offset, element.length, true);
    bytes.set(element, offset + 4);
    offset += 4 + element.length;
  }
  return bytes;
}

export function makeTensor({shape, dtype}, bytes) {
  if (dtype === 'string') return tf.tensor(decodeStrings(bytes), shape, dtype);
  const elements = new ARRAYS[dtype](bytes.buffer);
  if (dtype !== 'complex64') return tf.tensor(elements, shape, dtype);
  const half = (part) => tf.tensor(elements.filter((_, index) => index % 2 === part), shape, 'float32');
  return tf.complex(half(0), half(1));
}

export async function tensorBytes(tensor) {
  if (tensor.dtype === 'string') return encodeStrings(await tensor.bytes());
  const data = tensor.dataSync(); // complex numbers come as pairs
  const exact = data instanceof ARRAYS[tensor.dtype] ? data : ARRAYS[tensor.dtype].from(data);
  return new Uint8Array(exact.buffer, exact.byteOffset, exact.byteLength);
}
