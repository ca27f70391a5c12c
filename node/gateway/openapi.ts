/** What the gateway offers, as an OpenAPI 3.1 document. */
export function openApi(version: string): object {
  const model = { name: 'model', in: 'path', required: true, schema: { type: 'string' } }
  const json = (schema: object) => ({ content: { 'application/json': { schema } } })
  const ref = (name: string) => ({ $ref: `#/components/schemas/${name}` })
  const refused = { description: 'what is wrong', ...json(ref('Error')) }
  const answers = (description: string, schema?: object, ...refusals: number[]) => ({
    200: { description, ...(schema === undefined ? {} : json(schema)) },
    ...Object.fromEntries([401, ...refusals].map((status) => [status, refused])),
  })
  const get = (summary: string, responses: object, parameters: object[] = []) => ({
    get: { summary, parameters, responses },
  })
  const object = (properties: Record<string, object>, required: string[]) => ({ type: 'object', properties, required })
  const text = { type: 'string' }
  const tensor = object(
    {
      name: text,
      shape: { type: 'array', items: { type: 'integer' } },
      datatype: { enum: ['FP32', 'INT32', 'INT64'] },
      data: { type: 'array', description: 'numbers, flat or nested, row-major' },
      parameters: { type: 'object', properties: { binary_data_size: { type: 'integer' } } },
    },
    ['name', 'shape', 'datatype'],
  )
  return {
    openapi: '3.1.0',
    info: { title: 'Sinter gateway: Open Inference Protocol v2', version },
    security: [{}, { token: [] }],
    paths: {
      '/v2': get('server metadata', answers('name, version, extensions')),
      '/v2/health/live': get('whether the gateway runs', { 200: { description: 'it does' } }),
      '/v2/health/ready': get('whether every model has a provider', { 200: { description: 'yes' }, 503: refused }),
      '/v2/models/stats': get('statistics of all models', answers('statistics')),
      '/v2/models/{model}': get('model metadata', answers('inputs and outputs', undefined, 404, 503), [model]),
      '/v2/models/{model}/ready': get('whether a provider is at hand', answers('yes', undefined, 404, 503), [model]),
      '/v2/models/{model}/config': get('model configuration', answers('configuration', undefined, 404, 503), [model]),
      '/v2/models/{model}/stats': get('statistics', answers('statistics', undefined, 404), [model]),
      '/v2/models/{model}/infer': {
        post: {
          summary: 'one job, or a batch of jobs along the first axis',
          parameters: [
            model,
            {
              name: 'Inference-Header-Content-Length',
              in: 'header',
              schema: { type: 'integer' },
              description: 'bytes of JSON in front of binary tensors',
            },
          ],
          requestBody: { required: true, ...json(ref('InferRequest')) },
          responses: {
            ...answers('the outputs', ref('InferResponse'), 400, 403, 404, 413, 500, 502, 503, 504),
            200: {
              description: 'the outputs',
              ...json(ref('InferResponse')),
              headers: {
                'Sinter-Receipt': { description: 'receipt ids, one a job', schema: text },
                'Sinter-Price': { description: 'base units (10^-18 tokens), all jobs', schema: text },
                'Sinter-Provider': { description: 'addresses, one a job', schema: text },
              },
            },
          },
        },
      },
      '/v1/models': get('embedding models, in the shape of OpenAI', answers('models')),
      '/v1/embeddings': {
        post: {
          summary: 'vectors of length 1 for texts or token ids, in the shape of OpenAI; each input is a job',
          requestBody: { required: true, ...json(ref('EmbeddingRequest')) },
          responses: answers('the vectors, usage, receipts', undefined, 400, 404, 413, 500, 502, 503, 504),
        },
      },
      '/v2/repository/index': { post: { summary: 'all models', responses: answers('models') } },
      '/v2/receipts/{id}': get('where a job stands', answers('its state', ref('Receipt'), 404), [
        { name: 'id', in: 'path', required: true, schema: text },
      ]),
    },
    components: {
      securitySchemes: { token: { type: 'http', scheme: 'bearer' } },
      schemas: {
        Error: object({ error: text, code: text }, ['error']),
        Tensor: tensor,
        InferRequest: object(
          {
            id: text,
            parameters: { type: 'object' },
            inputs: { type: 'array', items: ref('Tensor') },
            outputs: { type: 'array', items: object({ name: text, parameters: { type: 'object' } }, ['name']) },
          },
          ['inputs'],
        ),
        EmbeddingRequest: object(
          {
            model: text,
            input: { description: 'a text, a list of texts, a list of token ids, or a list of these' },
            encoding_format: { enum: ['float', 'base64'] },
            dimensions: { type: 'integer', minimum: 1 },
          },
          ['model', 'input'],
        ),
        InferResponse: object(
          {
            model_name: text,
            model_version: text,
            id: text,
            parameters: { type: 'object' },
            outputs: { type: 'array', items: ref('Tensor') },
          },
          ['model_name', 'outputs'],
        ),
        Receipt: object(
          {
            id: text,
            price: text,
            provider: text,
            state: { enum: ['pending', 'verified', 'settled', 'refused'] },
            acknowledged: { type: 'boolean' },
            batch: { type: ['object', 'null'] },
          },
          ['id', 'price', 'provider', 'state', 'acknowledged', 'batch'],
        ),
      },
    },
  }
}
