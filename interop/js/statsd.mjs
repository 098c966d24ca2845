// hot-shots as a client of StatsD, over UDP, TCP and Unix datagrams.
//
// Sends measurements in rounds and records as JSON what they add up to. Chance
// is replaced by turns, so that of a counter that is sampled at a half exactly
// half is sent.
import { writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import hotShots from 'hot-shots';

const { values: options } = parseArgs({
  options: {
    transport: { type: 'string' },
    address: { type: 'string' },
    prefix: { type: 'string' },
    telegraf: { type: 'boolean', default: false },
    record: { type: 'string' },
    rounds: { type: 'string', default: '3' },
    count: { type: 'string', default: '300' },
  },
});
let turn = 0;
Math.random = () => (turn++ % 2 ? 0.75 : 0.25);

const totals = { counters: {}, timers: {}, gauges: {}, sets: {}, events: [], checks: {} };
const series = (name, tags = {}) => {
  const all = { env: 'interop', ...tags };
  const inside = Object.keys(all).sort().map((key) => `${key}=${all[key]}`).join(',');
  return `${options.prefix}.${name}{${inside}}`;
};
const add = (value, name, tags) => {
  const key = series(name, tags);
  totals.counters[key] = (totals.counters[key] ?? 0) + value;
};
const time = (value, name, tags) => {
  const timer = (totals.timers[series(name, tags)] ??= [0, 0]);
  timer[0] += 1;
  timer[1] += value;
};

const where = options.transport === 'uds' ? { path: options.address } : { host: '127.0.0.1', port: Number(options.address) };
const errors = [];
const client = new hotShots.StatsD({
  ...where,
  protocol: options.transport,
  prefix: `${options.prefix}.`,
  globalTags: { env: 'interop' },
  includeDataDogTags: false,
  telegraf: options.telegraf,
  maxBufferSize: options.transport === 'tcp' ? 0 : 1400,
  bufferFlushInterval: 50,
  errorHandler: (error) => errors.push(String(error)),
});

for (let round = 0; round < Number(options.rounds); round += 1) {
  for (let number = 0; number < Number(options.count); number += 1) {
    const route = `/${number % 3}`;
    client.increment('orders', { route });
    client.increment('items', number % 7);
    client.decrement('items', 1);
    client.timing('latency', number % 50);
    add(1, 'orders', { route });
    add((number % 7) - 1, 'items');
    time(number % 50, 'latency');
    if (!options.telegraf) {
      client.distribution('spread', number % 20, { route });
      time(number % 20, 'spread', { route });
    }
    if (number % 25 === 0) await pause(2);
  }
  for (let number = 0; number < 100; number += 1) {
    client.increment('sampled', 3, 0.5);
    add(3, 'sampled');
  }
  client.gauge('depth', 100 + round);
  totals.gauges[series('depth')] = 100 + round;
  await pause(700);
}
if (!options.telegraf) {
  client.event('deployed: v2', 'All went well', { alert_type: 'success' }, { team: 'shop' });
  client.check('shop.can_connect', client.CHECKS.WARNING, { message: 'slow' }, { team: 'shop' });
  // The client puts its prefix before these as well.
  totals.events.push(`${options.prefix}.deployed: v2`);
  totals.checks[`${options.prefix}.shop.can_connect`] = 1;
}
await new Promise((done) => client.close(done));
writeFileSync(options.record, JSON.stringify(totals));
if (errors.length) {
  console.error(errors.slice(0, 5).join('\n'));
  process.exit(1);
}
process.exit(0);
