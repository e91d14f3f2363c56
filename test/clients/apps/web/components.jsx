// An app whose chat box is the one of LiveKit's React components.
import { Chat, LayoutContextProvider, RoomContext } from '@livekit/components-react';
import React from 'react';
import { flushSync } from 'react-dom';
import { createRoot } from 'react-dom/client';
import { main } from './send.js';

const until = (what) => new Promise((done) => {
  const look = () => what() && (clearInterval(timer), done(what()));
  const timer = setInterval(look, 20);
});

// chat types a message into the chat box and sends it, and waits until the box shows it.
async function chat(room, message) {
  const place = document.body.appendChild(document.createElement('div'));
  // Complete at once: the box shows only what is sent after its effects ran, and a program types faster than a person.
  flushSync(() => createRoot(place).render(
    <RoomContext.Provider value={room}>
      <LayoutContextProvider><Chat /></LayoutContextProvider>
    </RoomContext.Provider>,
  ));
  const input = await until(() => place.querySelector('.lk-chat-form-input'));
  input.value = message;
  input.form.requestSubmit();
  await until(() => [...place.querySelectorAll('.lk-chat-entry')].some((entry) => entry.textContent.includes(message)));
}

main({ chat });
