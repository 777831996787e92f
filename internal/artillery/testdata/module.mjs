export const config = {
  target: 'ws://127.0.0.1:9001',
};
const flow = [{ send: 'from a module' }];
const list = [{ engine: 'ws', flow }];
export { list as scenarios };
