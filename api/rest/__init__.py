"""Plain HTTP: the dialects of Binance, listing sites and charts over what the writer committed."""

from api.rest import account, charts, listing_sites, market, tickers
from api.rest.endpoint import Endpoint

ENDPOINTS: tuple[Endpoint, ...] = (
    *market.ENDPOINTS,
    *tickers.ENDPOINTS,
    *account.ENDPOINTS,
    *listing_sites.ENDPOINTS,
    *charts.ENDPOINTS,
)
