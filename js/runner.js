// Runs TensorFlow.js models (graph models and layers-models) for tensorferry.runtimes.tfjs, one request after the other over stdin and stdout.
//
// A message, either way: uint32 length of the header, the header (JSON), then the tensors' bytes in the header's order, all
// little-endian (see tensors.js). Numbers never travel as JSON.

import '@tensorflow/tfjs-backend-cpu';
import {setWasmPaths} from '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';
import fs from 'node:fs';
import path from 'node:path';

import {chooseBackend, loadModel} from './models.js';
import {makeTensor, tensorBytes} from './tensors.js';
import {profile, runOnce, runSome} from './timing.js';

const PIECE = 1 << 30; // Node reads at most 2 GiB at once

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

async function openModel(file) {
  const document = JSON.parse(fs.readFileSync(file, 'utf8'));
  return loadModel(document, diskHandler(document, path.dirname(file)));
}

async function answer(request, payloads) {
  await chooseBackend(request.backend);
  const model = await openModel(request.model);
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
  const model = await openModel(request.model);
  const entry = {model, before, inputs: {}, load: performance.now() - start};
  request.inputs.forEach((each, index) => entry.inputs[each.name] = makeTensor(each, payloads[index]));
  entry.first = await runOnce(entry);
  timed.set(request.model, entry);
  return entry;
}

async function time(request, payloads) {
  await chooseBackend(request.backend);
  const entry = await timedModel(request, payloads);
  const {runs, seconds, profiled} = request.time;
  const times = await runSome(entry, runs, seconds);
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
