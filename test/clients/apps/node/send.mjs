// What an app or an agent in Node sends with @livekit/rtc-node: every send method once, each on a topic of its own so that the
// record can be looked up. Usage: node send.mjs <url of the test> <job> …
import { Room, RoomEvent, dispose } from '@livekit/rtc-node';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const text = (s) => new TextEncoder().encode(s);
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const bytes = (base64) => new Uint8Array(Buffer.from(base64, 'base64'));

function others(room, expected) {
  return new Promise((done) => {
    const look = () => expected.every((id) => room.remoteParticipants.has(id)) && done();
    room.on(RoomEvent.ParticipantConnected, look);
    look();
  });
}

function methods(room, job, path) {
  const me = room.localParticipant;
  const peer = job.peer;
  const attributes = job.attributes;
  return {
    'publish-lossy': () => me.publishData(text(job.short), { topic: 'publish-lossy', reliable: false }),
    'publish-reliable': () => me.publishData(text(job.short), { topic: 'publish-reliable', reliable: true }),
    'publish-bytes': () => me.publishData(bytes(job.binary), { topic: 'publish-bytes', reliable: true }),
    'publish-no-topic': () => me.publishData(text(job.short), { reliable: true }),
    'publish-addressed': peer && (() => me.publishData(text(job.short), { topic: 'publish-addressed', reliable: true, destination_identities: [peer] })),
    'publish-addressed-too': peer && (() =>
      me.publishData(text(job.short), { topic: 'publish-addressed-too', reliable: true, destination_identities: [peer, job.recorder] })),
    'send-text-short': () => me.sendText(job.short, { topic: 'send-text-short', attributes }),
    'send-text-long': () => me.sendText(job.long, { topic: 'send-text-long', attributes }),
    'send-text-addressed': peer && (() => me.sendText(job.short, { topic: 'send-text-addressed', destinationIdentities: [peer] })),
    'stream-text': async () => {
      const writer = await me.streamText({ topic: 'stream-text', attributes });
      for (const part of job.parts) await writer.write(part);
      await writer.close();
    },
    'send-file': () => me.sendFile(path, { topic: 'send-file', mimeType: 'image/png', name: job.fileName }),
    'stream-bytes': async () => {
      const writer = await me.streamBytes({ topic: 'stream-bytes', name: job.fileName, mimeType: 'application/octet-stream', attributes });
      const content = bytes(job.file);
      for (let at = 0; at < content.length; at += 7000) await writer.write(content.subarray(at, at + 7000));
      await writer.close();
    },
    'chat': async () => {
      const message = await me.sendChatMessage(job.short);
      await me.editChatMessage(job.edited, message);
    },
    'dtmf': () => me.publishDtmf(5, '5'),
    'rpc': peer && (async () => {
      const answer = await me.performRpc({ destinationIdentity: peer, method: 'greet', payload: job.rpc });
      if (answer !== `hello, ${job.rpc}`) throw new Error(`the answer is ${answer}`);
    }),
    'transcription': () =>
      me.publishTranscription({
        participantIdentity: me.identity, trackSid: 'TR_microphone',
        segments: [{ id: 'SG_1', text: job.short, startTime: 1000n, endTime: 2500n, language: 'en', final: true }],
      }),
    'transcription-stream': async () => {
      // How LiveKit's agents send what somebody said: an interim text, then the final one.
      for (const [final, said] of [['false', job.parts[0]], ['true', job.short]]) {
        const writer = await me.streamText({
          topic: 'lk.transcription',
          attributes: { 'lk.segment_id': 'SG_2', 'lk.transcription_final': final, 'lk.transcribed_track_id': 'TR_microphone' },
        });
        await writer.write(said);
        await writer.close();
      }
    },
  };
}

async function run(job, path) {
  const room = new Room();
  room.on(RoomEvent.Disconnected, () => left());
  const options = { autoSubscribe: false, dynacast: false };
  if (job.passphrase) options.encryption = { keyProviderOptions: { sharedKey: text(job.passphrase) } };
  await room.connect(job.url, job.token, options);
  room.localParticipant.registerRpcMethod('greet', async (call) => `hello, ${call.payload}`);
  await others(room, job.expect);
  const results = {};
  const all = methods(room, job, path);
  const perform = async (names) => {
    for (const name of names) {
      const send = all[name];
      if (!send) {
        results[name] = send === '' ? 'nobody to address' : 'not in this version';
        continue;
      }
      try {
        await send();
        results[name] = 'sent';
      } catch (e) {
        results[name] = `failed: ${e}`;
      }
    }
  };
  await perform(job.methods);
  while ((await fetch(`${server}/ready?job=${job.id}`, { method: 'POST' })).status !== 200) await sleep(100);
  await perform(job.addressed);
  await room.localParticipant.publishData(text(job.end), { topic: 'end', reliable: true });
  return results;
}

const [server, ...ids] = process.argv.slice(2);
let inRooms = ids.length;
let end;
const ended = new Promise((done) => (end = done));
// Everybody stays until the session ends.
const left = () => --inRooms === 0 && end();

const dir = await mkdtemp(join(tmpdir(), 'textegress-node-'));
await Promise.all(ids.map(async (id) => {
  let results;
  try {
    const job = await (await fetch(`${server}/job?job=${id}`)).json();
    const path = join(dir, id);
    await writeFile(path, bytes(job.file));
    results = await run(job, path);
  } catch (e) {
    results = { program: `failed: ${e} ${e.stack}` };
  }
  await fetch(`${server}/results?job=${id}`, { method: 'POST', body: JSON.stringify(results) });
}));
await ended;
await rm(dir, { recursive: true });
await dispose();
