// ONNX models made in memory: the benchmark's cases as onnxruntime-web gets them. Only what they need of the format (onnx.proto).

/** Protocol buffers: a varint, and fields of the two wire types that are used. */
const varint = (value) => {
  const bytes = [];
  for (let rest = BigInt.asUintN(64, BigInt(value)); ; rest >>= 7n) {
    const low = Number(rest & 127n);
    if (rest < 128n) return [...bytes, low];
    bytes.push(low | 128);
  }
};
const text = new TextEncoder();
const number = (field, value) => new Uint8Array([...varint(field << 3), ...varint(value)]);
const bytes = (field, content) => {
  const body = typeof content === "string" ? text.encode(content) : content;
  const head = [...varint((field << 3) | 2), ...varint(body.length)];
  const all = new Uint8Array(head.length + body.length);
  all.set(head);
  all.set(body, head.length);
  return all;
};
const float = (field, value) =>
  new Uint8Array([...varint((field << 3) | 5), ...new Uint8Array(new Float32Array([value]).buffer)]);
const joined = (parts) => {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
};

const [FLOAT, INT64] = [1, 7];
const count = (dims) => dims.reduce((product, length) => product * length, 1);

function attribute(name, value) {
  const parts = [bytes(1, name)];
  if (Array.isArray(value)) parts.push(...value.map((one) => number(8, one)), number(20, 7));
  else if (typeof value === "object") parts.push(float(2, value.float), number(20, 1));
  else parts.push(number(3, value), number(20, 2));
  return joined(parts);
}

const tensor = (name, dims, type, data) =>
  joined([...dims.map((length) => number(1, length)), number(2, type), bytes(8, name), bytes(9, data)]);

const valueInfo = (name, dims) => {
  const shape = joined(dims.map((length) => bytes(1, number(1, length))));
  return joined([bytes(1, name), bytes(2, bytes(1, joined([number(1, FLOAT), bytes(2, shape)])))]);
};

/** Numbers that are no constants to a compiler: of a deviation of `1 / √inputs`, so that depth does not make them large. */
function random(dims, inputs) {
  const values = new Float32Array(count(dims));
  let state = 1;
  const scale = Math.sqrt(12 / inputs);
  for (let i = 0; i < values.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    values[i] = (state / 2 ** 32 - 0.5) * scale;
  }
  return values;
}

/** A graph as it grows: each of its methods adds nodes and gives the name of what they make. */
class Graph {
  #nodes = [];
  #constants = [];
  #inputs = [];
  #names = 0;

  #name() {
    return `v${this.#names++}`;
  }

  node(op, inputs, attributes = {}, { domain = "", outputs = 1 } = {}) {
    const made = Array.from({ length: outputs }, () => this.#name());
    const parts = [
      ...inputs.map((name) => bytes(1, name)),
      ...made.map((name) => bytes(2, name)),
      bytes(4, op),
      ...Object.entries(attributes).map(([name, value]) => bytes(5, attribute(name, value))),
    ];
    if (domain) parts.push(bytes(7, domain));
    this.#nodes.push(bytes(1, joined(parts)));
    return outputs === 1 ? made[0] : made;
  }

  constant(dims, values) {
    const name = this.#name();
    const [type, data] = values instanceof Float32Array ? [FLOAT, values] : [INT64, BigInt64Array.from(values, BigInt)];
    this.#constants.push(bytes(5, tensor(name, dims, type, new Uint8Array(data.buffer))));
    return name;
  }

  weight(dims, inputs = count(dims.slice(1))) {
    return this.constant(dims, random(dims, inputs));
  }

  input(dims) {
    const name = `input${this.#inputs.length}`;
    this.#inputs.push({ name, dims });
    return name;
  }

  conv(x, inputs, outputs, kernel) {
    const weights = [this.weight([outputs, inputs, kernel, kernel]), this.weight([outputs], outputs)];
    const attributes = { kernel_shape: [kernel, kernel], pads: Array(4).fill((kernel - 1) / 2) };
    return this.node("Conv", [x, ...weights], attributes);
  }

  /** Of `[…, inputs]`, as frameworks export it. */
  linear(x, inputs, outputs, biased = true) {
    const product = this.node("MatMul", [x, this.weight([inputs, outputs], inputs)]);
    return biased ? this.node("Add", [product, this.weight([outputs], outputs)]) : product;
  }

  reshape(x, dims) {
    return this.node("Reshape", [x, this.constant([dims.length], dims)]);
  }

  silu(x) {
    return this.node("Mul", [x, this.node("Sigmoid", [x])]);
  }

  groupNorm(x, [batch, channels, h, w]) {
    const groups = 32;
    const ones = (value) => this.constant([groups], new Float32Array(groups).fill(value));
    const grouped = this.reshape(x, [batch, groups, (channels / groups) * h * w]);
    const normal = this.node("InstanceNormalization", [grouped, ones(1), ones(0)], { epsilon: { float: 1e-5 } });
    const whole = this.reshape(normal, [batch, channels, h, w]);
    const scaled = this.node("Mul", [whole, this.weight([channels, 1, 1], channels)]);
    return this.node("Add", [scaled, this.weight([channels, 1, 1], channels)]);
  }

  layerNorm(x, size) {
    const weights = [this.weight([size], size), this.weight([size], size)];
    return this.node("LayerNormalization", [x, ...weights], { axis: -1, epsilon: { float: 1e-5 } });
  }

  attention(query, key, value, heads) {
    return this.node("MultiHeadAttention", [query, key, value], { num_heads: heads }, { domain: "com.microsoft" });
  }

  geglu(x) {
    const [value, gate] = this.node("Split", [x], { axis: -1, num_outputs: 2 }, { outputs: 2 });
    return this.node("Mul", [value, this.node("Gelu", [gate])]);
  }

  resnet(x, inputs, [batch, channels, h, w]) {
    const first = this.conv(this.silu(this.groupNorm(x, [batch, inputs, h, w])), inputs, channels, 3);
    const timed = this.node("Add", [first, this.weight([1, channels, 1, 1], channels)]);
    const second = this.conv(this.silu(this.groupNorm(timed, [batch, channels, h, w])), channels, channels, 3);
    return this.node("Add", [inputs === channels ? x : this.conv(x, inputs, channels, 1), second]);
  }

  transformer(x, text, [batch, channels, h, w]) {
    const attend = (x, context, width) => {
      const [query, key, value] = [
        [x, channels],
        [context, width],
        [context, width],
      ].map(([from, inputs]) => this.linear(from, inputs, channels, false));
      return this.linear(this.attention(query, key, value, 8), channels, channels);
    };
    const projected = this.conv(this.groupNorm(x, [batch, channels, h, w]), channels, channels, 1);
    const rows = this.reshape(projected, [batch, channels, h * w]);
    let tokens = this.node("Transpose", [rows], { perm: [0, 2, 1] });
    const own = this.layerNorm(tokens, channels);
    tokens = this.node("Add", [tokens, attend(own, own, channels)]);
    tokens = this.node("Add", [tokens, attend(this.layerNorm(tokens, channels), text, CONTEXT)]);
    const inner = this.geglu(this.linear(this.layerNorm(tokens, channels), channels, 8 * channels));
    tokens = this.node("Add", [tokens, this.linear(inner, 4 * channels, channels)]);
    const back = this.reshape(this.node("Transpose", [tokens], { perm: [0, 2, 1] }), [batch, channels, h, w]);
    return this.node("Add", [this.conv(back, channels, channels, 1), x]);
  }

  /** `{ model, inputs, output }` with `output` as what comes out; its shape is left to the runtime. */
  finish(output) {
    const info = joined([bytes(1, output), bytes(2, bytes(1, number(1, FLOAT)))]);
    const inputs = this.#inputs.map(({ name, dims }) => bytes(11, valueInfo(name, dims)));
    const graph = joined([...this.#nodes, bytes(2, "case"), ...this.#constants, ...inputs, bytes(12, info)]);
    const opset = (domain, version) => bytes(8, joined([bytes(1, domain), number(2, version)]));
    const model = joined([number(1, 9), opset("", 20), opset("com.microsoft", 1), bytes(7, graph)]);
    return { model, inputs: this.#inputs, output };
  }
}

const CONTEXT = 768;
const LATENTS = 4;

const CASES = {
  conv(graph, { batch, inputs, outputs, h, w, kernel }) {
    return graph.conv(graph.input([batch, inputs, h, w]), inputs, outputs, kernel);
  },
  linear(graph, { rows, inputs, outputs }) {
    return graph.linear(graph.input([rows, inputs]), inputs, outputs);
  },
  attention(graph, { batch, heads, queries, keys, d }) {
    const of = (length) => graph.input([batch, length, heads * d]);
    return graph.attention(of(queries), of(keys), of(keys), heads);
  },
  group_norm_silu(graph, { batch, channels, h, w }) {
    return graph.silu(graph.groupNorm(graph.input([batch, channels, h, w]), [batch, channels, h, w]));
  },
  linear_geglu(graph, { rows, inputs, outputs }) {
    return graph.geglu(graph.linear(graph.input([rows, inputs]), inputs, 2 * outputs));
  },
  layer_norm(graph, { rows, size }) {
    return graph.layerNorm(graph.input([rows, size]), size);
  },
  unet_level(graph, { channels, h, w }) {
    const size = [2, channels, h, w];
    const [x, text] = [graph.input([2, LATENTS, h, w]), graph.input([2, 77, CONTEXT])];
    const first = graph.conv(x, LATENTS, channels, 3);
    const down = graph.transformer(graph.resnet(first, channels, size), text, size);
    let y = graph.resnet(graph.transformer(graph.resnet(down, channels, size), text, size), channels, size);
    for (const skip of [down, first]) {
      const both = graph.node("Concat", [y, skip], { axis: 1 });
      y = graph.transformer(graph.resnet(both, 2 * channels, size), text, size);
    }
    return graph.conv(graph.silu(graph.groupNorm(y, size)), channels, LATENTS, 3);
  },
};

/** The model of a case of the benchmark: `{ model, inputs: [{ name, dims }], output }`. */
export function modelOf({ op, ...sizes }) {
  const graph = new Graph();
  return graph.finish(CASES[op](graph, sizes));
}
