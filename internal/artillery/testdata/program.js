#!/usr/bin/env node
'use strict';
// A script that is computed.
const rooms = ['red', 'blue'];

const flow = rooms.map((room, i) => ({ send: { room, i, padded: String(i).padStart(3, '0') } }));
console.log('not printed', Array.from({ length: 3 }, (_, i) => i));

module.exports = {
  config: {
    target: 'ws://127.0.0.1:9001',
    phases: [{ duration: 60 / 2, arrivalRate: 10, rampTo: undefined }],
  },
  scenarios: [{ engine: 'ws', flow: [{ connect: '{{ target }}/x' }, ...flow, { think: 1 }] }],
};
