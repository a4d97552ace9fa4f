// Models of TensorFlow.js, graph models and layers-models, under one roof.

import {loadGraphModel} from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';
import {loadLayersModel} from '@tensorflow/tfjs-layers';

export async function chooseBackend(name) {
  if (!await tf.setBackend(name)) throw new Error(`the backend '${name}' cannot start here`);
  await tf.ready();
}

// Either kind of model, its model.json and where the loader finds it: what it reads and gives, and how it is run by names.
export async function loadModel(document, source) {
  if (Array.isArray(document.modelTopology?.node)) {
    const model = await loadGraphModel(source);
    const named = Object.keys(model.modelSignature?.outputs ?? {});
    return {
      inputs: model.inputs.map((each) => each.name),
      outputs: model.outputs.map((each) => each.name),
      public: named.length > 0 ? named : model.outputs.map((each) => each.name),
      run: (inputs, names) => execute(model, inputs, names),
      dispose: () => model.dispose(),
    };
  }
  const loaded = await loadLayersModel(source);
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

// Ops whose result sizes depend on data, and control flow, run in the asynchronous executor only.
async function execute(model, inputs, names) {
  try {
    return model.execute(inputs, names);
  } catch (error) {
    if (!/executeAsync/.test(error.message)) throw error;
    return model.executeAsync(inputs, names);
  }
}
