// What an app in a browser sends: every send method that this version of livekit-client has, once, each on a topic of its own so
// that the record can be looked up. It is written against livekit-client alone; the Go test bundles it with each version.
import { ExternalE2EEKeyProvider, Room, RoomEvent } from 'livekit-client';

const text = (s) => new TextEncoder().encode(s);
const bytes = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

// A method that never ends names itself, and tells what went wrong beside it.
const uncaught = [];
window.addEventListener('error', (e) => uncaught.push(e.message));
window.addEventListener('unhandledrejection', (e) => uncaught.push(String(e.reason)));
const tooLong = () => sleep(15_000).then(() => Promise.reject(new Error(`it takes longer than 15 s; uncaught: ${uncaught}`)));

// others resolves when everybody the job names is in the room: what is sent depends on who is there.
function others(room, expected) {
  return new Promise((done) => {
    const look = () => expected.every((id) => room.remoteParticipants.has(id)) && done();
    room.on(RoomEvent.ParticipantConnected, look);
    look();
  });
}

function methods(room, job, extra) {
  const me = room.localParticipant;
  const peer = job.peer;
  const attributes = job.attributes;
  const file = (name, type, content) => new File([bytes(content)], name, { type });
  return {
    'publish-lossy': () => me.publishData(text(job.short), { topic: 'publish-lossy' }),
    'publish-reliable': () => me.publishData(text(job.short), { topic: 'publish-reliable', reliable: true }),
    'publish-bytes': () => me.publishData(bytes(job.binary), { topic: 'publish-bytes', reliable: true }),
    'publish-no-topic': () => me.publishData(text(job.short), { reliable: true }),
    'publish-addressed': peer && (() => me.publishData(text(job.short), { topic: 'publish-addressed', reliable: true, destinationIdentities: [peer] })),
    'publish-addressed-too': peer && (() =>
      me.publishData(text(job.short), { topic: 'publish-addressed-too', reliable: true, destinationIdentities: [peer, job.recorder] })),
    'send-text-short': me.sendText && (() => me.sendText(job.short, { topic: 'send-text-short', attributes })),
    'send-text-long': me.sendText && (() => me.sendText(job.long, { topic: 'send-text-long', attributes })),
    'send-text-attachments': me.sendText && (() =>
      me.sendText(job.short, {
        topic: 'send-text-attachments', attachments: [file('notes.txt', 'text/plain', job.binary), file(job.fileName, 'image/png', job.file)],
      })),
    'send-text-addressed': me.sendText && peer && (() => me.sendText(job.short, { topic: 'send-text-addressed', destinationIdentities: [peer] })),
    'stream-text': me.streamText && (async () => {
      const writer = await me.streamText({ topic: 'stream-text', attributes });
      for (const part of job.parts) await writer.write(part);
      await writer.close();
    }),
    'send-file': me.sendFile && (() => me.sendFile(file(job.fileName, 'image/png', job.file), { topic: 'send-file', mimeType: 'image/png' })),
    'send-bytes': me.sendBytes && (() => me.sendBytes(bytes(job.binary), { topic: 'send-bytes', name: job.fileName, mimeType: 'application/octet-stream', attributes })),
    'stream-bytes': me.streamBytes && (async () => {
      const writer = await me.streamBytes({ topic: 'stream-bytes', name: job.fileName, mimeType: 'application/octet-stream', attributes });
      const content = bytes(job.file);
      for (let at = 0; at < content.length; at += 7000) await writer.write(content.subarray(at, at + 7000));
      await writer.close();
    }),
    'chat': me.sendChatMessage && (async () => {
      const message = await me.sendChatMessage(job.short);
      await me.editChatMessage(job.edited, message);
    }),
    'components-chat': extra.chat && (() => extra.chat(room, job.chat)),
    'dtmf': me.publishDtmf && (() => me.publishDtmf(5, '5')),
    'rpc': me.performRpc && peer && (async () => {
      const answer = await me.performRpc({ destinationIdentity: peer, method: 'greet', payload: job.rpc });
      if (answer !== `hello, ${job.rpc}`) throw new Error(`the answer is ${answer}`);
    }),
    'data-track': me.publishDataTrack && (async () => {
      // Lossy, and receivers subscribe when the track appears: an app sends frame after frame.
      const track = await me.publishDataTrack({ name: 'positions' });
      for (let n = 1; n <= job.frames; n++) {
        await track.tryPush({ payload: text(`frame ${n}`), userTimestamp: BigInt(n) });
        await sleep(40);
      }
      await track.tryPush({ payload: text(job.long) }); // in several packets
      await track.flush();
    }),
  };
}

async function connect(job) {
  const options = {};
  if (job.passphrase) {
    const keyProvider = new ExternalE2EEKeyProvider();
    await keyProvider.setKey(job.passphrase);
    options.encryption = { keyProvider, worker: new Worker('e2ee-worker.js') };
  }
  const room = new Room(options);
  if (job.passphrase) await room.setE2EEEnabled(true);
  // Rooms answer calls themselves since 2.10 or so, before that their local participant does.
  const answering = room.registerRpcMethod ? room : room.localParticipant;
  answering.registerRpcMethod?.('greet', async (call) => `hello, ${call.payload}`);
  // Connected is not encrypted yet: until this event the SDK sends in clear.
  const encrypts = new Promise((done) => room.on(RoomEvent.ParticipantEncryptionStatusChanged, (on, who) => on && who.isLocal && done()));
  await room.connect(job.url, job.token);
  if (job.passphrase) await encrypts;
  await others(room, job.expect);
  return room;
}

// run does one job and returns what became of each method: "sent", "not in this version", "nobody to address" or an error.
async function run(job, extra) {
  const room = await connect(job);
  const results = {};
  const all = methods(room, job, extra);
  const perform = async (names) => {
    for (const name of names) {
      const send = all[name];
      if (!send) {
        results[name] = send === '' ? 'nobody to address' : 'not in this version';
        continue;
      }
      try {
        await Promise.race([send(), tooLong()]);
        results[name] = 'sent';
      } catch (e) {
        results[name] = `failed: ${e}`;
      }
    }
  };
  await perform(job.methods);
  while ((await fetch(`/ready?job=${job.id}`, { method: 'POST' })).status !== 200) await sleep(100);
  await perform(job.addressed);
  await room.localParticipant.publishData(text(job.end), { topic: 'end', reliable: true });
  return results;
}

export async function main(extra) {
  const id = new URLSearchParams(location.search).get('job');
  const report = (results) => fetch(`/results?job=${id}`, { method: 'POST', body: JSON.stringify(results) });
  try {
    const job = await (await fetch(`/job?job=${id}`)).json();
    await report(await run(job, extra));
  } catch (e) {
    await report({ page: `failed: ${e} ${e.stack}` });
  }
}
