// The page in which tensorferry times a model in a browser. It asks its server what to do, does it, and says how long it took.

import '@tensorflow/tfjs-backend-cpu';
import {setWasmPaths} from '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';

import {chooseBackend, loadModel} from './models.js';
import {makeTensor} from './tensors.js';
import {profile, runOnce, runSome} from './timing.js';

// Everything lies beside the page: the model's files in a folder, the inputs' bytes one after the other.
async function open({backend, inputs}) {
  setWasmPaths('./');
  tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false); // the file for it is not there
  await chooseBackend(backend);
  const document = await (await fetch('model/model.json')).json();
  const start = performance.now();
  const model = await loadModel(document, 'model/model.json');
  const load = performance.now() - start;
  const bytes = await (await fetch('inputs')).arrayBuffer();
  const entry = {model, inputs: {}};
  let offset = 0;
  for (const each of inputs) {
    entry.inputs[each.name] = makeTensor(each, new Uint8Array(bytes.slice(offset, offset + each.bytes)));
    offset += each.bytes;
  }
  return {entry, load, first: await runOnce(entry)};
}

async function main() {
  let opened = null;
  for (;;) {
    const task = await (await fetch('task')).json();
    if (task === null) return;
    let answer;
    try {
      opened ??= await open(task);
      const times = await runSome(opened.entry, task.runs, task.seconds);
      const kernels = await profile(opened.entry, task.profiled);
      const {load, first} = opened;
      answer = {backend: tf.getBackend(), version: tf.version_core, browser: navigator.userAgent, load, first, times, kernels};
    } catch (error) {
      answer = {error: String(error?.message ?? error)};
    }
    await fetch('answer', {method: 'POST', body: JSON.stringify(answer)});
  }
}

main();
