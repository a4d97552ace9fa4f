// Runs TensorFlow.js models (graph models and layers-models) for tensorferry.runtimes.tfjs, one request after the other over stdin and stdout.
//
// A message, either way: uint32 length of the header, the header (JSON), then the tensors' bytes in the header's order, all
// little-endian. A string tensor is, per element, a uint32 length and the bytes. Numbers never travel as JSON.

import '@tensorflow/tfjs-backend-cpu';
import {setWasmPaths} from '@tensorflow/tfjs-backend-wasm';
import {loadGraphModel} from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';
import {loadLayersModel} from '@tensorflow/tfjs-layers';
import fs from 'node:fs';
import path from 'node:path';

const PIECE = 1 << 30; // Node reads at most 2 GiB at once
const ARRAYS = {float32: Float32Array, int32: Int32Array, bool: Uint8Array, complex64: Float32Array};

// Only messages may go to stdout.
for (const level of ['log', 'info', 'debug', 'warn']) console[level] = (...words) => console.error(...words);

function readExactly(descriptor, length) {
  const bytes = new Uint8Array(length);
  let done = 0;
  while (done < length) {
    const count = readSome(descriptor, bytes, done, Math.min(length - done, PIECE));
    if (count === 0) return null;
    done += count;
  }
  return bytes;
}

function readSome(descriptor, bytes, offset, length) {
  for (;;) {
    try {
      return fs.readSync(descriptor, bytes, offset, length, null);
    } catch (error) {
      if (error.code === 'EOF') return 0; // Windows says so when the pipe is closed
      if (error.code !== 'EAGAIN') throw error;
    }
  }
}

function writeFully(bytes) {
  let done = 0;
  while (done < bytes.length) {
    try {
      done += fs.writeSync(1, bytes, done, Math.min(bytes.length - done, PIECE));
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
    }
  }
}

function send(header, payloads = []) {
  const text = new TextEncoder().encode(JSON.stringify(header));
  writeFully(new Uint8Array(new Uint32Array([text.length]).buffer));
  writeFully(text);
  payloads.forEach(writeFully);
}

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

function makeTensor({shape, dtype}, bytes) {
  if (dtype === 'string') return tf.tensor(decodeStrings(bytes), shape, dtype);
  const elements = new ARRAYS[dtype](bytes.buffer);
  if (dtype !== 'complex64') return tf.tensor(elements, shape, dtype);
  const half = (part) => tf.tensor(elements.filter((_, index) => index % 2 === part), shape, 'float32');
  return tf.complex(half(0), half(1));
}

async function tensorBytes(tensor) {
  if (tensor.dtype === 'string') return encodeStrings(await tensor.bytes());
  const data = tensor.dataSync(); // complex numbers come as pairs
  const exact = data instanceof ARRAYS[tensor.dtype] ? data : ARRAYS[tensor.dtype].from(data);
  return new Uint8Array(exact.buffer, exact.byteOffset, exact.byteLength);
}

function readShard(file) {
  const descriptor = fs.openSync(file, 'r');
  try {
    const pieces = [];
    for (let left = fs.fstatSync(descriptor).size; left > 0; left -= PIECE) {
      const piece = readExactly(descriptor, Math.min(left, PIECE));
      if (piece === null) throw new Error(`${path.basename(file)} ended early`);
      pieces.push(piece.buffer);
    }
    return pieces;
  } finally {
    fs.closeSync(descriptor);
  }
}

// The loader's view of a model on disk; weights lie beside the model file.
function diskHandler(document, folder) {
  return {
    load: () => tf.io.getModelArtifactsForJSON(
        document,
        async (manifest) => {
          const specs = manifest.flatMap((group) => group.weights);
          const files = manifest.flatMap((group) => group.paths);
          const outside = files.find((each) => path.basename(each) !== each);
          if (outside !== undefined) throw new Error(`weight file '${outside}' is not in the model's folder`);
          return [specs, files.flatMap((each) => readShard(path.join(folder, each)))];
        }),
  };
}

// Either kind of model: what it reads and gives, and how it is run with inputs by name.
async function loadModel(file) {
  const document = JSON.parse(fs.readFileSync(file, 'utf8'));
  const handler = diskHandler(document, path.dirname(file));
  if (Array.isArray(document.modelTopology?.node)) {
    const model = await loadGraphModel(handler);
    const named = Object.keys(model.modelSignature?.outputs ?? {});
    return {
      inputs: model.inputs.map((each) => each.name),
      outputs: model.outputs.map((each) => each.name),
      public: named.length > 0 ? named : model.outputs.map((each) => each.name),
      run: (inputs, names) => execute(model, inputs, names),
      dispose: () => model.dispose(),
    };
  }
  const loaded = await loadLayersModel(handler);
  if (loaded.getClassName() === 'Sequential') loaded.build();
  const model = loaded.model ?? loaded; // a Sequential is built of the network that it holds
  return {
    inputs: model.inputNames,
    outputs: model.outputNames,
    public: model.outputNames,
    run: (inputs, names) => {
      const missing = model.inputNames.filter((name) => !(name in inputs));
      if (missing.length > 0) throw new Error(`there is no value for the inputs ${missing}; given are ${Object.keys(inputs)}`);
      const results = [model.predictOnBatch(model.inputNames.map((name) => inputs[name]))].flat();
      return names.map((name) => results[model.outputNames.indexOf(name)]);
    },
    dispose: () => loaded.dispose(),
  };
}

async function chooseBackend(name) {
  if (!await tf.setBackend(name)) throw new Error(`the backend '${name}' cannot start here`);
  await tf.ready();
}

// Ops whose result sizes depend on data, and control flow, run in the asynchronous executor only.
async function execute(model, inputs, names) {
  try {
    return model.execute(inputs, names);
  } catch (error) {
    if (!/executeAsync/.test(error.message)) throw error;
    return model.executeAsync(inputs, names);
  }
}

async function answer(request, payloads) {
  await chooseBackend(request.backend);
  const model = await loadModel(request.model);
  const inputs = {};
  request.inputs.forEach((each, index) => inputs[each.name] = makeTensor(each, payloads[index]));
  const asked = request.outputs ?? model.public;
  const names = [...asked, ...request.nodes];
  const start = performance.now();
  let results = await model.run(inputs, names);
  results = Array.isArray(results) ? results : [results];
  const payload = await Promise.all(results.map(tensorBytes));
  const milliseconds = performance.now() - start;
  const outputs = results.map(
      (each, index) => ({name: names[index], dtype: each.dtype, shape: each.shape, bytes: payload[index].length}));
  const header = {
    backend: tf.getBackend(), // after the run: the one that computed it
    version: tf.version_core,
    node: process.version,
    milliseconds,
    outputs,
    modelInputs: model.inputs,
    modelOutputs: model.outputs,
  };
  send(header, payload);
  model.dispose();
}

// Models that are timed stay loaded, with their inputs: the next request for the same one goes on where the last ended.
const timed = new Map();

async function timedModel(request, payloads) {
  if (timed.has(request.model)) return timed.get(request.model);
  const before = process.memoryUsage().rss;
  const start = performance.now();
  const model = await loadModel(request.model);
  const entry = {model, before, inputs: {}, load: performance.now() - start};
  request.inputs.forEach((each, index) => entry.inputs[each.name] = makeTensor(each, payloads[index]));
  entry.first = await runOnce(entry);
  timed.set(request.model, entry);
  return entry;
}

// Milliseconds until all outputs can be read.
async function runOnce({model, inputs}) {
  tf.engine().startScope();
  try {
    const start = performance.now();
    const results = [await model.run(inputs, model.public)].flat();
    await Promise.all(results.map((each) => each.data()));
    return performance.now() - start;
  } finally {
    tf.engine().endScope();
  }
}

// Kernels in the order they first ran: how often in one run, and their milliseconds in each run that was watched.
async function profile(entry, runs) {
  const found = new Map();
  for (let run = 0; run < runs; run++) {
    const {kernels} = await tf.profile(() => runOnce(entry).then(() => tf.scalar(0)));
    for (const {name, kernelTimeMs} of kernels.filter((each) => !each.name.endsWith('__op'))) { // those stand for the op around a kernel
      if (!found.has(name)) found.set(name, {name, count: 0, times: []});
      const kernel = found.get(name);
      if (run === 0) kernel.count++;
      kernel.times[run] = (kernel.times[run] ?? 0) + kernelTimeMs;
    }
  }
  return [...found.values()];
}

async function time(request, payloads) {
  await chooseBackend(request.backend);
  const entry = await timedModel(request, payloads);
  const {runs, seconds, profiled} = request.time;
  const times = [];
  for (const end = performance.now() + seconds * 1000; times.length < runs && (times.length === 0 || performance.now() < end);) {
    times.push(await runOnce(entry));
  }
  send({
    backend: tf.getBackend(),
    version: tf.version_core,
    node: process.version,
    milliseconds: entry.load,
    outputs: [],
    modelInputs: entry.model.inputs,
    modelOutputs: entry.model.outputs,
    first: entry.first,
    times,
    kernels: await profile(entry, profiled),
    memory: process.resourceUsage().maxRSS * 1024 - entry.before,
  });
}

async function serve() {
  setWasmPaths(__dirname + path.sep);
  for (;;) {
    const length = readExactly(0, 4);
    if (length === null) return;
    const header = readExactly(0, new DataView(length.buffer).getUint32(0, true));
    const request = JSON.parse(new TextDecoder().decode(header));
    const payloads = request.inputs.map((each) => readExactly(0, each.bytes));
    if (request.time) {
      await time(request, payloads).catch((error) => send({error: String(error?.message ?? error), backend: tf.getBackend()}));
      continue;
    }
    tf.engine().startScope();
    try {
      await answer(request, payloads);
    } catch (error) {
      send({error: String(error?.message ?? error), backend: tf.getBackend()});
    }
    tf.engine().endScope();
  }
}

serve();
