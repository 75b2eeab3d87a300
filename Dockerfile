# docker build -t segmend . && docker run --rm -v "$PWD:/data" segmend train --data /data/DATA --out /data/RUN
FROM python:3.12-slim
WORKDIR /app
COPY . .
RUN pip install --no-cache-dir .
WORKDIR /data
ENTRYPOINT ["segmend"]
