// Bundles runner.js with TensorFlow.js into one file, puts the WebAssembly beside it, and gathers the licences of what is inside.
// Usage: node build.mjs OUTPUT_FOLDER FINGERPRINT

import {build} from 'esbuild';
import fs from 'node:fs';
import path from 'node:path';

const [output, fingerprint] = process.argv.slice(2);
const WASM = 'tfjs-backend-wasm-simd.wasm'; // every Node that is supported has SIMD

function packageOf(input) {
  const parts = input.split('/');
  const start = parts.lastIndexOf('node_modules') + 1;
  if (start === 0) return null;
  return parts.slice(0, parts[start].startsWith('@') ? start + 2 : start + 1).join('/');
}

function notice(folder) {
  const {name, version, license} = JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8'));
  const file = fs.readdirSync(folder).find((each) => /^licen[cs]e/i.test(each));
  const text = file ? fs.readFileSync(path.join(folder, file), 'utf8').trim() : licenceInReadme(folder);
  return `${name} ${version} (${license})\n\n${text ?? 'The text of the Apache License 2.0 is in the LICENSE of tensorferry.'}\n`;
}

// Some packages print their licence at the end of the README.
function licenceInReadme(folder) {
  const readme = path.join(folder, 'README.md');
  const text = fs.existsSync(readme) ? fs.readFileSync(readme, 'utf8') : '';
  const start = text.search(/^LICENSE/m);
  return start < 0 ? null : text.slice(start).trim();
}

const COMMON = {
  bundle: true,
  mainFields: ['module', 'main'], // one copy of tfjs-core, the modular one
  minify: true,
  metafile: true,
  logLevel: 'error',
};

fs.mkdirSync(output, {recursive: true});
const result = await build({
  ...COMMON,
  entryPoints: ['runner.js'],
  outfile: path.join(output, 'tfjs_runner.js'),
  platform: 'node',
  target: 'node18',
  format: 'cjs',
  external: ['node-fetch'], // nothing is fetched
  legalComments: 'eof',
  banner: {js: `// tensorferry ${fingerprint}`},
});
// What the tests load in a browser; it is no part of the package.
await build({...COMMON, entryPoints: ['page.js'], outfile: 'dist/page.js', platform: 'browser', target: 'es2020', format: 'iife'});
const timed = await build({
  ...COMMON,
  entryPoints: ['bench.js'],
  outfile: path.join(output, 'tfjs_bench.js'),
  platform: 'browser',
  target: 'es2020',
  format: 'iife',
  legalComments: 'eof',
});
const packages = new Set([result, timed].flatMap((each) => Object.keys(each.metafile.inputs)).map(packageOf).filter(Boolean));
fs.writeFileSync(
    path.join(output, 'tfjs_runner.LICENSES.txt'),
    [...[...packages].sort().map(notice), fs.readFileSync('wasm-notices.txt', 'utf8')].join('\n' + '-'.repeat(80) + '\n\n'));
fs.copyFileSync(path.join('node_modules/@tensorflow/tfjs-backend-wasm/dist', WASM), path.join(output, WASM));
