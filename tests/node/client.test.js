// The server, asked by OpenAI's own client for Node, unmodified. What replies say is checked in tests/python; here it is
// that this client gets all of it.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { join } from 'node:path';
import OpenAI from 'openai';
import { generate, makeModels, startServer } from './server.js';

const messages = [{ role: 'user', content: 'Say something.' }];
const prompt = 'user: Say something.\nassistant:';
const wild = { temperature: 100, top_p: 1, top_k: 0, max_tokens: 4000, seed: 5 };
const schema = {
  type: 'object',
  properties: { mood: { enum: ['low', 'high'] }, age: { type: 'integer', minimum: 0, maximum: 99 } },
  required: ['mood', 'age'],
  additionalProperties: false,
};
const tools = [
  { type: 'function', function: { name: 'set_mood', description: 'Sets it.', parameters: schema } },
  { type: 'function', function: { name: 'stop', parameters: { type: 'object', properties: {}, additionalProperties: false } } },
];

// On Debian 12's Node 18.20.4 the client's default, node-fetch 2, takes the end of every stream over a connection that
// is kept for a premature one, from Node's own server too.
const transport = process.version === 'v18.20.4' ? { fetch: globalThis.fetch } : {};

let models, server, client;

before(async () => {
  models = makeModels();
  server = await startServer(join(models.folder, 'plain'), join(models.folder, 'hermes'), '--models-in-memory', '2');
  client = new OpenAI({ ...transport, baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0 });
});

after(async () => {
  assert.equal(await server?.stop(), 0);
  models?.remove();
});

const chat = (changes) => client.chat.completions.create({ model: 'plain', messages, temperature: 0, max_tokens: 12, ...changes });

function checkMood(text) {
  const mood = JSON.parse(text);
  assert.deepEqual(Object.keys(mood), ['mood', 'age']);
  assert.ok(['low', 'high'].includes(mood.mood));
  assert.ok(Number.isInteger(mood.age) && mood.age >= 0 && mood.age <= 99);
}

function checkCall(call) {
  if (call.name === 'set_mood') return checkMood(call.arguments);
  assert.deepEqual([call.name, JSON.parse(call.arguments)], ['stop', {}]);
}

async function gather(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

describe('chat', () => {
  it('answers what the command generate writes', async () => {
    const reply = await chat();
    assert.equal(reply.choices[0].message.content, generate(join(models.folder, 'plain'), prompt, 12));
    assert.equal(reply.choices[0].finish_reason, 'length');
    assert.deepEqual([reply.usage.prompt_tokens, reply.usage.completion_tokens], [prompt.length, 12]);
  });

  it('streams the same', async () => {
    const chunks = await gather(await chat({ stream: true, stream_options: { include_usage: true } }));
    const text = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('');
    assert.equal(text, (await chat()).choices[0].message.content);
    assert.equal(chunks[0].choices[0].delta.role, 'assistant');
    assert.equal(chunks.at(-2).choices[0].finish_reason, 'length');
    assert.equal(chunks.at(-1).usage.completion_tokens, 12);
  });

  it('tells several choices apart', async () => {
    const ask = { n: 2, seed: 7, temperature: 1.5 };
    const texts = ['', ''];
    for await (const chunk of await chat({ ...ask, stream: true })) {
      for (const choice of chunk.choices) texts[choice.index] += choice.delta.content ?? '';
    }
    const whole = await chat(ask);
    assert.deepEqual(texts, whole.choices.map((choice) => choice.message.content));
    assert.notEqual(texts[0], texts[1]);
  });

  it('gives log-probabilities, in streams too', async () => {
    const ask = { logprobs: true, top_logprobs: 3 };
    const tokens = (await chat(ask)).choices[0].logprobs.content;
    assert.equal(tokens.length, 12);
    for (const token of tokens) {
      assert.equal(token.top_logprobs.length, 3);
      assert.equal(token.top_logprobs[0].token, token.token);
      assert.ok(token.logprob <= 0 && token.logprob === token.top_logprobs[0].logprob);
    }
    const chunks = await gather(await chat({ ...ask, stream: true }));
    assert.deepEqual(chunks.flatMap((chunk) => chunk.choices[0]?.logprobs?.content ?? []), tokens);
  });

  it('ends when its reader leaves', async () => {
    const stream = await chat({ stream: true, max_tokens: 15000 });
    for await (const chunk of stream) {
      if (chunk.choices[0].delta.content) break;
    }
    for (let i = 0; i < 1000 && await server.metric('salient_requests_running') > 0; ++i) await sleep(20);
    assert.equal(await server.metric('salient_requests_running'), 0);
    assert.ok(await server.metric('salient_generated_tokens_total') < 15000);
  });
});

describe('schemas and tools', () => {
  const format = { type: 'json_schema', json_schema: { name: 'mood', schema, strict: true } };

  it('follow a schema', async () => {
    const reply = await chat({ ...wild, response_format: format, n: 4 });
    for (const choice of reply.choices) {
      checkMood(choice.message.content);
      assert.equal(choice.finish_reason, 'stop');
    }
  });

  it('parse with the helper of the client', async () => {
    const reply = await client.beta.chat.completions.parse({ model: 'plain', messages, ...wild, response_format: format });
    checkMood(reply.choices[0].message.content);
  });

  for (const model of ['plain', 'hermes']) {
    it(`call tools of ${model}, in streams too`, async () => {
      const ask = { model, ...wild, tools, tool_choice: 'required' };
      const choice = (await chat(ask)).choices[0];
      assert.equal(choice.finish_reason, 'tool_calls');
      assert.equal(choice.message.content, null);
      choice.message.tool_calls.forEach((call) => checkCall(call.function));
      const calls = [];
      for await (const chunk of await chat({ ...ask, stream: true })) {
        for (const delta of chunk.choices[0]?.delta.tool_calls ?? []) {
          calls[delta.index] ??= { name: delta.function.name, arguments: '' };
          calls[delta.index].arguments += delta.function.arguments;
        }
      }
      assert.deepEqual(calls, choice.message.tool_calls.map((call) => call.function));
    });
  }

  it('take what a tool gave', async () => {
    const call = (await chat({ ...wild, tools, tool_choice: { type: 'function', function: { name: 'stop' } } })).choices[0].message;
    const result = { role: 'tool', tool_call_id: call.tool_calls[0].id, content: 'done' };
    const reply = await chat({ messages: [...messages, call, result], tools });
    assert.equal(reply.usage.completion_tokens, 12);
  });
});

describe('responses', () => {
  const respond = (changes) =>
    client.responses.create({ model: 'plain', input: 'Say something.', temperature: 0, max_output_tokens: 12, ...changes });

  it('say what a chat says', async () => {
    const response = await respond();
    assert.equal(response.output_text, (await chat()).choices[0].message.content);
    assert.equal(response.status, 'incomplete');
    assert.equal(response.usage.input_tokens, prompt.length);
  });

  it('stream the same', async () => {
    const events = await gather(await respond({ stream: true }));
    const text = events.filter((event) => event.type === 'response.output_text.delta').map((event) => event.delta).join('');
    assert.equal(text, (await respond()).output_text);
    assert.equal(events[0].type, 'response.created');
    assert.equal(events.at(-1).type, 'response.incomplete');
  });

  it('call tools', async () => {
    const flat = tools.map((tool) => ({ type: 'function', strict: true, ...tool.function }));
    const { max_tokens: max_output_tokens, ...rest } = wild;
    const response = await respond({ ...rest, max_output_tokens, tools: flat, tool_choice: 'required' });
    assert.equal(response.status, 'completed');
    assert.ok(response.output.length > 0);
    response.output.forEach(checkCall);
  });
});

describe('the rest', () => {
  it('completes texts', async () => {
    const reply = await client.completions.create({ model: 'plain', prompt: 'Once', temperature: 0, max_tokens: 5, echo: true, logprobs: 1 });
    assert.equal(reply.choices[0].text, 'Once' + generate(join(models.folder, 'plain'), 'Once', 5));
    assert.equal(reply.choices[0].logprobs.tokens.length, 9);
  });

  it('embeds texts', async () => {
    const reply = await client.embeddings.create({ model: 'plain', input: ['Once', 'twice'] });
    assert.deepEqual(reply.data.map((one) => one.embedding.length), [64, 64]);
    const raw = await client.embeddings.create({ model: 'plain', input: 'Once', encoding_format: 'float' });
    assert.ok(Math.abs(Math.hypot(...raw.data[0].embedding) - 1) < 1e-5);
    assert.deepEqual([...Float32Array.from(raw.data[0].embedding)], [...reply.data[0].embedding]);
  });

  it('lists models', async () => {
    const names = (await client.models.list()).data.map((model) => model.id);
    assert.deepEqual(names, ['plain', 'hermes']);
    assert.equal((await client.models.retrieve('hermes')).id, 'hermes');
  });
});

describe('errors', () => {
  const kindOf = (kind, parts) => (error) => {
    assert.ok(error instanceof kind, String(error));
    for (const [name, value] of Object.entries(parts)) assert.equal(error[name], value);
    return true;
  };

  it('are those of OpenAI', async () => {
    await assert.rejects(chat({ model: 'huge' }), kindOf(OpenAI.NotFoundError, { code: 'model_not_found', status: 404 }));
    await assert.rejects(chat({ temperature: -1 }), kindOf(OpenAI.BadRequestError, { param: 'temperature' }));
    await assert.rejects(chat({ max_tokens: 20000 }), kindOf(OpenAI.BadRequestError, { status: 400 }));
    await assert.rejects(chat({ response_format: { type: 'json_schema', json_schema: { name: 'x', schema: { type: 'foo' } } } }),
                         kindOf(OpenAI.BadRequestError, { status: 400 }));
    await assert.rejects(client.responses.create({ model: 'plain', input: 'a', previous_response_id: 'resp_1' }),
                         kindOf(OpenAI.BadRequestError, { param: 'previous_response_id' }));
    await assert.rejects(client.embeddings.create({ model: 'plain', input: 'a', dimensions: 8 }),
                         kindOf(OpenAI.BadRequestError, { param: 'dimensions' }));
  });

  it('ask for the key and for patience', async () => {
    const guarded = await startServer(join(models.folder, 'plain'), '--api-key', 'secret', '--parallel', '1', '--queue', '0');
    try {
      const stranger = new OpenAI({ ...transport, baseURL: `${guarded.url}/v1`, apiKey: 'wrong', maxRetries: 0 });
      await assert.rejects(stranger.models.list(), kindOf(OpenAI.AuthenticationError, { status: 401 }));
      const friend = new OpenAI({ ...transport, baseURL: `${guarded.url}/v1`, apiKey: 'secret', maxRetries: 0 });
      const ask = { model: 'plain', messages, max_tokens: 15000, stream: true };
      const busy = await friend.chat.completions.create(ask);
      await assert.rejects(friend.chat.completions.create(ask), kindOf(OpenAI.RateLimitError, { code: 'queue_full' }));
      busy.controller.abort();
    } finally {
      assert.equal(await guarded.stop(), 0);
    }
  });
});
