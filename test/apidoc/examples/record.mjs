import { AccessToken, EgressClient, EgressStatus } from 'livekit-server-sdk';

const url = process.env.TEXTEGRESS_URL ?? 'http://127.0.0.1:9464';
const { LIVEKIT_API_KEY: key, LIVEKIT_API_SECRET: secret } = process.env;

// LiveKit's client cannot start a recording of data, so this is a request of our own.
const token = new AccessToken(key, secret, { ttl: '5m' });
token.addGrant({ roomRecord: true });
const response = await fetch(`${url}/twirp/textegress.DataEgress/StartDataEgress`, {
  method: 'POST',
  headers: {
    'Content-Type': 'application/json',
    Authorization: `Bearer ${await token.toJwt()}`,
  },
  body: JSON.stringify({ room_name: 'Biology 2', request_id: 'biology-2026-11-30' }),
});
const answer = await response.json();
if (!response.ok) throw new Error(`${answer.code}: ${answer.msg}`);

// Everything else is LiveKit's client.
const client = new EgressClient(url, key, secret);
for (const egress of await client.listEgress({ active: true })) {
  console.log(egress.egressId, egress.roomName, EgressStatus[egress.status]);
}
let egress = await client.stopEgress(answer.egress_id);
while (egress.status < EgressStatus.EGRESS_COMPLETE) { // until it is delivered and verified
  await new Promise((resolve) => setTimeout(resolve, 1000));
  [egress] = await client.listEgress({ egressId: answer.egress_id });
}
console.log(EgressStatus[egress.status], egress.manifestLocation);
