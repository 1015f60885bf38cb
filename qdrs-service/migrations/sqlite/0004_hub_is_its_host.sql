-- A hub is its host: the name in lower case, without a final dot and the port of HTTPS, and of the three names of an IoT Hub the
-- classic one (`qdrs_core::hub::host::identity`).
--
-- Where an older version let one device id stand twice in one hub, by two spellings of its host, one of them keeps its spelling.
CREATE TEMP TABLE spelled AS SELECT DISTINCT hub_host AS old, hub_host AS host FROM reservation;
UPDATE spelled SET host = lower(trim(host));
UPDATE spelled SET host = substr(host, 1, length(host) - 4) WHERE host LIKE '%:443';
UPDATE spelled SET host = rtrim(host, '.');
UPDATE spelled SET host = replace(replace(host, '.device.azure-devices', '.azure-devices'), '.service.azure-devices', '.azure-devices');
DELETE FROM spelled WHERE host = old;
UPDATE OR IGNORE reservation SET hub_host = (SELECT host FROM spelled WHERE old = hub_host)
    WHERE state IN ('issued', 'confirmed') AND hub_host IN (SELECT old FROM spelled);
UPDATE OR IGNORE reservation SET hub_host = (SELECT host FROM spelled WHERE old = hub_host)
    WHERE hub_host IN (SELECT old FROM spelled);
DROP TABLE spelled;
