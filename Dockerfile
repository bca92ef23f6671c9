# A CPU image:
#   docker build -t autodistill .
#   docker run --rm --shm-size=1g -v "$PWD:/work" -v autodistill-cache:/cache autodistill search --dataset reviews.csv
# On Linux the mounted folder has to be writable for user 1000; for another user, build with --build-arg USER_ID=$(id -u).
FROM python:3.11-slim

ARG USER_ID=1000
RUN useradd --create-home --uid "$USER_ID" autodistill && mkdir /work /cache && chown autodistill /work /cache

WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY autodistill autodistill
COPY dashboards dashboards
COPY search_spaces search_spaces
COPY studies/recorded studies/recorded
# torch and torchvision first, from the index without CUDA: they then stay when the rest is installed
RUN pip install --no-cache-dir --constraint constraints.txt --index-url https://download.pytorch.org/whl/cpu torch torchvision \
    && pip install --no-cache-dir --constraint constraints.txt ".[dashboard,onnx]"

USER ${USER_ID}
WORKDIR /work
ENV AUTODISTILL_CACHE=/cache
VOLUME /cache
ENTRYPOINT ["autodistill"]
CMD ["--help"]
