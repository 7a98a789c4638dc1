// In a worker, before the engine: whoever started it hears of every pipeline that is compiled.
const sources = new WeakMap();

const noting = (name) => {
  const make = GPUDevice.prototype[name];
  GPUDevice.prototype[name] = function (described) {
    const { module, entryPoint = "", constants = {} } = described.compute;
    const source = `${sources.get(module)}\n${entryPoint} ${JSON.stringify(constants)}`;
    self.postMessage({ event: { event: "pipeline", source } });
    return make.call(this, described);
  };
};

if (self.GPUDevice) {
  const { createShaderModule } = GPUDevice.prototype;
  GPUDevice.prototype.createShaderModule = function (described) {
    const module = createShaderModule.call(this, described);
    sources.set(module, described.code);
    return module;
  };
  noting("createComputePipeline");
  noting("createComputePipelineAsync");
}
