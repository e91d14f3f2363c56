// A recorder as somebody would write it on LiveKit's Node SDK: one line per message, one text file per room and sender.
import { appendFileSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Room, RoomEvent } from '@livekit/rtc-node';

const { values: o } = parseArgs({
  options: { url: { type: 'string' }, rooms: { type: 'string' }, out: { type: 'string' }, joined: { type: 'string' } },
});
const decoder = new TextDecoder();

async function record({ name, token }) {
  const files = new Map();
  const room = new Room();
  room.on(RoomEvent.DataReceived, (payload, participant) => {
    const who = participant?.identity ?? 'unknown';
    if (!files.has(who)) {
      files.set(who, openSync(join(o.out, `${encodeURIComponent(name)}-${encodeURIComponent(who)}.txt`), 'a'));
    }
    const now = Date.now();
    appendFileSync(files.get(who), `${new Date(now).toISOString()}|${now}000000|${decoder.decode(payload)}\n`);
  });
  await room.connect(o.url, token, { autoSubscribe: false, dynacast: false });
  return room;
}

const waiting = JSON.parse(readFileSync(o.rooms, 'utf8'));
const rooms = [];
await Promise.all(
  Array.from({ length: 16 }, async () => {
    while (waiting.length > 0) rooms.push(await record(waiting.pop()));
  }),
);
writeFileSync(o.joined, '');
process.on('SIGTERM', () => process.exit(0));
setInterval(() => {}, 1 << 30);
