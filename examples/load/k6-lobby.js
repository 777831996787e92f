// Clients that meet in the lobby: the time until the greeting, and until a message is with everyone: `k6 run k6-lobby.js`.
import { check } from 'k6';
import { Counter, Trend } from 'k6/metrics';
import { WebSocket } from 'k6/websockets';

const url = __ENV.TARGET || 'ws://127.0.0.1:8080/';
const seconds = Number(__ENV.SECONDS || 20);

const welcome = new Trend('lobby_welcome', true);
const delivery = new Trend('lobby_delivery', true);
const heard = new Counter('lobby_heard');

export const options = {
  scenarios: {
    lobby: { executor: 'per-vu-iterations', vus: Number(__ENV.CLIENTS || 50), iterations: 1, maxDuration: '10m' },
  },
  thresholds: {
    lobby_delivery: ['p(95)<100', 'p(99)<200'],
    checks: ['rate==1'],
  },
  summaryTrendStats: ['min', 'med', 'p(95)', 'p(99)', 'p(99.9)', 'max'],
};

export default function () {
  const began = Date.now();
  const ws = new WebSocket(url);
  let greeted = false;
  let own = 0; // everyone hears themselves, too
  let sent = 0;

  ws.onopen = () => {
    const timer = setInterval(() => ws.send(JSON.stringify({ by: __VU, n: sent++, at: Date.now() })), 1000);
    setTimeout(() => {
      clearInterval(timer);
      setTimeout(() => ws.close(1000), 500); // what is under way may come
    }, seconds * 1000);
  };
  ws.onmessage = (event) => {
    const m = JSON.parse(event.data);
    if (m.at === undefined) { // the greeting
      greeted = true;
      welcome.add(Date.now() - began);
      return;
    }
    heard.add(1);
    delivery.add(Date.now() - m.at);
    own += m.by === __VU ? 1 : 0;
  };
  ws.onclose = () => check(null, { 'greeted': () => greeted, 'heard all of its own': () => own === sent });
}
