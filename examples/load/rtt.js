'use strict';

// begin and end measure what lies between them, in milliseconds.
module.exports = {
  begin(context, events, done) {
    context.vars.began = process.hrtime.bigint();
    done();
  },
  end(context, events, done) {
    const took = process.hrtime.bigint() - context.vars.began;
    delete context.vars.began; // artillery cannot write it down
    events.emit('histogram', 'echo.rtt', Number(took) / 1e6);
    done();
  },
};
