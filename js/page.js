// A page of the tests: loads models over http as any page would, runs them, and sends what it got back to where it came from.

import '@tensorflow/tfjs-backend-cpu';
import {loadGraphModel} from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';
import {loadLayersModel} from '@tensorflow/tfjs-layers';

async function run({url, kind, inputs}) {
  const tensors = Object.fromEntries(
      Object.entries(inputs).map(([name, {shape, dtype, values}]) => [name, tf.tensor(values, shape, dtype)]));
  const layers = kind === 'tfjs-layers';
  const model = await (layers ? loadLayersModel(url) : loadGraphModel(url));
  const results = layers ? model.predict(Object.values(tensors)) : await model.executeAsync(tensors);
  return [results].flat().map((each) => ({shape: each.shape, dtype: each.dtype, values: Array.from(each.dataSync())}));
}

async function main() {
  const answer = {browser: navigator.userAgent, version: tf.version_core, results: []};
  await tf.setBackend('cpu');
  for (const task of await (await fetch('tasks.json')).json()) {
    answer.results.push(await run(task).catch((error) => ({error: String(error?.message ?? error)})));
  }
  await fetch('results', {method: 'POST', body: JSON.stringify(answer)});
}

main();
