// Receives webhooks with LiveKit's WebhookReceiver. Prints its address, then each verified event as
// one line of JSON.
//
// usage: node receive.mjs API_KEY API_SECRET
import { createServer } from 'node:http';
import { WebhookReceiver } from 'livekit-server-sdk';

const receiver = new WebhookReceiver(process.argv[2], process.argv[3]);

const server = createServer(async (req, res) => {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  try {
    const event = await receiver.receive(
      Buffer.concat(chunks).toString(),
      req.headers.authorization,
    );
    console.log(event.toJsonString());
    res.statusCode = 200;
  } catch (err) {
    console.error(String(err));
    res.statusCode = 401;
  }
  res.end();
});
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}/hook`));
