// Serves the page at http://localhost:PORT: `node serve.mjs PROGRAM [PORT]`, where PROGRAM is a folder of `march gen`.
import { createReadStream, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { dirname, extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const [program, port = '8080'] = process.argv.slice(2);
if (!program) {
  console.error('usage: node serve.mjs PROGRAM [PORT]');
  process.exit(2);
}
const here = dirname(fileURLToPath(import.meta.url));
const types = { '.html': 'text/html', '.mjs': 'text/javascript', '.wasm': 'application/wasm' };

const server = createServer((request, answer) => {
  let path = normalize(decodeURIComponent(new URL(request.url, 'http://localhost').pathname)); // never above /
  if (path === '/') path = '/index.html';
  const file = path.startsWith('/program/') ? join(program, path.slice('/program/'.length)) : join(here, path);
  try {
    const { size } = statSync(file);
    answer.writeHead(200, { 'content-type': types[extname(file)] ?? 'application/octet-stream', 'content-length': size });
    createReadStream(file).pipe(answer);
  } catch {
    answer.writeHead(404).end('not found');
  }
}).listen(Number(port), 'localhost', () => console.log(`http://localhost:${server.address().port}`));
