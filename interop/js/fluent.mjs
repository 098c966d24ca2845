// @fluent-org/logger as a client of the Forward protocol, in each of its modes, with acknowledgements, and with a
// shared key where one is given. Records the events as JSON; an event counts when its acknowledgement came.
import { writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import logger from '@fluent-org/logger';

const { values: options } = parseArgs({
  options: {
    port: { type: 'string' },
    path: { type: 'string' },
    mode: { type: 'string' },
    'shared-key': { type: 'string' },
    user: { type: 'string' },
    password: { type: 'string' },
    tag: { type: 'string' },
    record: { type: 'string' },
    count: { type: 'string', default: '2000' },
    // Milliseconds to rest after every fifty events.
    rest: { type: 'string', default: '0' },
    'ack-timeout': { type: 'string', default: '15000' },
  },
});
const socket = options.path ? { path: options.path } : { host: '127.0.0.1', port: Number(options.port) };
const key = options['shared-key'];
const security = key && { clientHostname: 'interop', sharedKey: key, username: options.user, password: options.password };
const client = new logger.FluentClient(options.tag, {
  eventMode: options.mode,
  socket: { ...socket, timeout: 10000, disableReconnect: true },
  security: security || undefined,
  ack: { ackTimeout: Number(options['ack-timeout']) },
  milliseconds: true,
  flushInterval: 20,
  disconnect: { waitForPending: true, waitForPendingDelay: 20000, socketDisconnectDelay: 200 },
  disableAutoconnect: true,
});
client.socketOn('error', (error) => console.error(String(error)));
await client.connect();
const base = Date.now();
const events = [];
let refused = 0;
const acknowledged = [];
// When the server is gone for good, the client leaves its promises open and the process ends: what was acknowledged
// until then counts all the same.
process.on('exit', () => writeFileSync(options.record, JSON.stringify(events)));
for (let number = 0; number < Number(options.count); number += 1) {
  if (Number(options.rest) && number % 50 === 0) await pause(Number(options.rest));
  const time = logger.EventTime.fromTimestamp(base + number);
  const fields = { message: `line ${number}`, number, half: number + 0.5, odd: number % 2 === 1 };
  if (number % 100 === 0) fields.nested = { list: [1, 'zwei', null], text: '世界 🚀\n"quoted"' };
  acknowledged.push(
    client.emit('access', fields, time).then(
      () => events.push({ tag: `${options.tag}.access`, time: (base + number) * 1e6, fields }),
      (error) => {
        refused += 1;
        if (refused < 5) console.error(String(error));
      },
    ),
  );
}
await Promise.all(acknowledged);
await client.shutdown().catch((error) => console.error(String(error)));
process.exit(refused ? 1 : 0);
