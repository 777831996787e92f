// Clients that come, speak and listen: k6 run load/k6.js
import { check } from 'k6';
import { Counter } from 'k6/metrics';
import { WebSocket } from 'k6/websockets';

const target = __ENV.TARGET || 'ws://127.0.0.1:8080';
const received = new Counter('messages_received');

export const options = {
  scenarios: {
    clients: { executor: 'per-vu-iterations', vus: Number(__ENV.CLIENTS || 50), iterations: 1, maxDuration: '5m' },
  },
  thresholds: { checks: ['rate==1'], ws_connecting: ['p(95)<100'] },
};

export default function () {
  const ws = new WebSocket(`${target}@PATH@`);
  let heard = 0;
  let code;
  ws.onopen = () => {
    const timer = setInterval(() => ws.send(JSON.stringify(@MESSAGE@)), 1000);
    setTimeout(() => { clearInterval(timer); code = 'own'; ws.close(1000); }, Number(__ENV.SECONDS || 20) * 1000);
  };
  ws.onmessage = () => { heard++; received.add(1); };
  ws.onclose = () => check(null, { 'not closed by the server': () => code === 'own', 'heard something': () => heard > 0 });
}
