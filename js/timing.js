// Runs of a loaded model {model, inputs}, measured.

import * as tf from '@tensorflow/tfjs-core';

// Milliseconds until all outputs can be read.
export async function runOnce({model, inputs}) {
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

// At most so many runs in about so many seconds, at least one if any is wanted.
export async function runSome(entry, runs, seconds) {
  const times = [];
  for (const end = performance.now() + seconds * 1000; times.length < runs && (times.length === 0 || performance.now() < end);) {
    times.push(await runOnce(entry));
  }
  return times;
}

// Kernels in the order they first ran: how often in one run, and their milliseconds in each run that was watched.
export async function profile(entry, runs) {
  const found = new Map();
  for (let run = 0; run < runs; run++) {
    const {kernels} = await tf.profile(() => runOnce(entry));
    for (const {name, kernelTimeMs} of kernels.filter((each) => !each.name.endsWith('__op'))) { // those stand for the op around a kernel
      if (!found.has(name)) found.set(name, {name, count: 0, times: []});
      const kernel = found.get(name);
      if (run === 0) kernel.count++;
      kernel.times[run] = (kernel.times[run] ?? 0) + kernelTimeMs;
    }
  }
  return [...found.values()];
}
