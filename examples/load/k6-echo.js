// Clients that talk to the echo, and measure the round trip: `k6 run k6-echo.js`.
import { check } from 'k6';
import { Counter, Trend } from 'k6/metrics';
import { WebSocket } from 'k6/websockets';

const url = __ENV.TARGET || 'ws://127.0.0.1:8080/echo';
const scale = Number(__ENV.SCALE || 1); // SCALE=0.1 is a quick try

const rtt = new Trend('echo_rtt', true); // of a whole millisecond's resolution: not for ranking fast servers
const lost = new Counter('echo_lost');

export const options = {
  scenarios: {
    echo: {
      executor: 'ramping-vus',
      stages: [
        { duration: `${Math.ceil(20 * scale)}s`, target: Math.ceil(100 * scale) },
        { duration: `${Math.ceil(30 * scale)}s`, target: Math.ceil(100 * scale) },
        { duration: `${Math.ceil(5 * scale)}s`, target: 0 },
      ],
    },
  },
  thresholds: {
    echo_rtt: ['p(95)<50', 'p(99)<100'],
    echo_lost: ['count==0'],
    ws_connecting: ['p(95)<100'],
    checks: ['rate==1'],
  },
  summaryTrendStats: ['min', 'med', 'p(95)', 'p(99)', 'p(99.9)', 'max'],
};

export default function () {
  const ws = new WebSocket(`${url}?client=${__VU}`);
  const messages = 20;
  let sent = 0;
  let received = 0;

  ws.onopen = () => {
    const timer = setInterval(() => {
      if (sent === messages) {
        clearInterval(timer);
        setTimeout(() => ws.close(1000), 500); // what is under way may come
        return;
      }
      ws.send(JSON.stringify({ n: sent++, at: Date.now() }));
    }, 100);
  };
  ws.onmessage = (event) => {
    const m = JSON.parse(event.data);
    rtt.add(Date.now() - m.at);
    check(m, { 'in order': () => m.n === received });
    received++;
  };
  ws.onclose = () => lost.add(sent - received);
}
